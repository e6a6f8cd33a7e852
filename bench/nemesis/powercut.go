package nemesis

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

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
	if err := copyFile(image, v.image); err != nil {
		return nil, fmt.Errorf("copying the disk of %s: %w", v.at, err)
	}
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, fmt.Errorf("mounting the copy of a disk: %w", err)
	}
	return mount(image, at)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
