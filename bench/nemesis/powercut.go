package nemesis

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Supply is the power of a disk that holds all that a node keeps.
type Supply interface {
	// LosePower leaves on the disk what had reached it, and nothing that was only
	// written. Nobody uses the disk meanwhile.
	LosePower() error
}

// The kinds that need power to be cut: nodes are gone at once, and what nobody had
// had flushed with them.
const (
	PowerOne      Kind = "power-cut-one"      // of any node
	PowerMinority Kind = "power-cut-minority" // of as many as the cluster goes on without, the leader among them or not
	PowerAll      Kind = "power-cut-all"      // of all
)

// PowerKinds are those that need [Nemesis.Supplies].
func PowerKinds() []Kind { return []Kind{PowerOne, PowerMinority, PowerAll} }

// cutPower has the power of all victims fail. They are stopped together before the
// first of them is gone, so that none acts on the end of another one.
func (n *Nemesis) cutPower(victims []*Process) error {
	var problems []error
	for _, v := range victims {
		if n.Supplies[v.ID()] == nil {
			return fmt.Errorf("the power of %s cannot be cut", v.ID())
		}
		problems = append(problems, v.Pause())
	}
	for _, v := range victims {
		problems = append(problems, v.Kill())
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, v := range victims {
		if err := n.Supplies[v.ID()].LosePower(); err != nil {
			return fmt.Errorf("cutting the power of %s: %w", v.ID(), err)
		}
	}
	return nil
}

// lazily has ext4 write nothing by itself for a while that nobody waits for: no
// commit every five seconds, and no flush of what replaces a file by its name.
const lazily = "commit=300,noauto_da_alloc"

// KeepUnflushed has the file system keep in memory what nobody has it flush, for
// half a minute at least (the kernel writes what is older), so that a power cut
// loses it.
func (v *Volume) KeepUnflushed() error {
	if err := unix.Mount("", v.at, "", unix.MS_REMOUNT, lazily); err != nil {
		return fmt.Errorf("having %s written lazily: %w", v.at, err)
	}
	return nil
}

// PowerCut makes a file system as it is found after a power cut now, and mounts
// it at a directory, which it makes where it is missing: a copy of what has
// reached the disk, in a file that is not there yet. What has only been written
// is not in it. The file system itself goes on as it is; nobody may flush
// anything in it meanwhile. The copy must be closed, too.
func (v *Volume) PowerCut(image, at string) (*Volume, error) {
	if err := v.copyDisk(image); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, fmt.Errorf("mounting the copy of a disk: %w", err)
	}
	return mount(image, at)
}

// LosePower implements [Supply] for a volume of which nothing is flushed unasked (see
// [Volume.KeepUnflushed]); none is afterwards. No process has a file of it open.
func (v *Volume) LosePower() error {
	after := v.image + ".after"
	if err := v.copyDisk(after); err != nil {
		return err
	}
	// What was only written goes into the old image, which nobody has any more then.
	if err := errors.Join(v.Close(), os.Rename(after, v.image)); err != nil {
		return fmt.Errorf("putting the copy of the disk of %s in its place: %w", v.at, err)
	}
	if _, err := mount(v.image, v.at); err != nil {
		return err
	}
	return v.KeepUnflushed()
}

const (
	// maxCopies bounds how often a disk is copied of which something changes.
	maxCopies = 10
	// quiet is how long nothing must have been written before a copy: when the last
	// write was is known to a tick of the kernel's clock, which is 10 ms at most.
	quiet = 20 * time.Millisecond
)

// copyDisk copies what has reached the disk into a file that is not there yet. Where
// more reached it meanwhile, as the kernel may decide, the copy is of no one moment,
// and is made once more.
func (v *Volume) copyDisk(image string) error {
	for range maxCopies {
		time.Sleep(quiet)
		before, err := os.Stat(v.image)
		if err == nil && time.Since(before.ModTime()) < quiet {
			continue
		}
		if err == nil {
			err = copyFile(image, v.image)
		}
		if err != nil {
			return fmt.Errorf("copying the disk of %s: %w", v.at, err)
		}
		after, err := os.Stat(v.image)
		if err == nil && after.ModTime().Equal(before.ModTime()) {
			return nil
		}
		if err := errors.Join(err, os.Remove(image)); err != nil {
			return fmt.Errorf("copying the disk of %s: %w", v.at, err)
		}
	}
	return fmt.Errorf("copying the disk of %s: something was written to it at each of %d tries", v.at, maxCopies)
}

// copyFile copies a file with its holes: an image has little else.
func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		begin, err := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // there is nothing behind
		}
		if err != nil {
			return err
		}
		if at, err = unix.Seek(int(in.Fd()), begin, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, begin), io.NewSectionReader(in, begin, at-begin)); err != nil {
			return err
		}
	}
}
