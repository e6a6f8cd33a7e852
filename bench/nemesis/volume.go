package nemesis

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Volume is a small file system of its own, in a file, that is mounted at a
// directory. It implements [Room]. It must be closed, lest it stay mounted.
type Volume struct {
	image  string
	at     string
	filler *os.File
	taken  int64
	thaw   *exec.Cmd // will thaw it; nil: it is not frozen
}

// VolumeTrouble says why no file system can be mounted here; nil: it can.
func VolumeTrouble() (err error) {
	if os.Geteuid() != 0 {
		return errors.New("a disk that can be filled takes root, since it has to be mounted")
	}
	dir, err := os.MkdirTemp("", "volume-")
	if err != nil {
		return fmt.Errorf("a disk that can be filled takes a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	v, err := NewVolume(filepath.Join(dir, "image"), filepath.Join(dir, "at"), 1<<20)
	if err != nil {
		return err
	}
	return v.Close()
}

// fillerName is the file that takes the room. What is in the way of a node is
// not its own, so it must not look into it.
const fillerName = ".filler"

// NewVolume makes a file system of a size in bytes in a file that is not there
// yet, and mounts it at a directory, which it makes where it is missing.
func NewVolume(image, at string, size int64) (*Volume, error) {
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, fmt.Errorf("making a file system: %w", err)
	}
	if err := errors.Join(os.Truncate(image, size), os.MkdirAll(at, 0o700)); err != nil {
		return nil, fmt.Errorf("making a file system: %w", err)
	}
	if err := run("mkfs.ext4", "-q", "-F", "-m", "0", image); err != nil { // -m 0: root gets no more than others
		return nil, err
	}
	v, err := mount(image, at)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(filepath.Join(at, "lost+found")), os.Chmod(at, 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("emptying a file system: %w", err), v.Close())
	}
	return v, nil
}

// mount mounts the file system that is in a file.
func mount(image, at string) (*Volume, error) {
	if err := run("mount", "-o", "loop", image, at); err != nil {
		return nil, err
	}
	return &Volume{image: image, at: at}, nil
}

func run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s of a file system of a test's own: %w: %s", argv[0], err, bytes.TrimSpace(out))
	}
	return nil
}

// Fill implements [Room].
func (v *Volume) Fill() error {
	if v.filler == nil {
		filler, err := os.OpenFile(filepath.Join(v.at, fillerName), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return nil // there is not even room for the name of a file
		}
		if err != nil {
			return err
		}
		v.filler, v.taken = filler, 0
	}
	var s unix.Statfs_t
	if err := unix.Statfs(v.at, &s); err != nil {
		return err
	}
	// What a node has written and not yet been given room for counts as free.
	// So the last blocks are taken one by one.
	for step := int64(s.Bavail) * s.Bsize; step >= s.Bsize; {
		err := unix.Fallocate(int(v.filler.Fd()), 0, v.taken, step)
		switch {
		case err == nil:
			v.taken += step
		case errors.Is(err, unix.ENOSPC):
			step = step / 2 / s.Bsize * s.Bsize
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	return nil
}

// Clear implements [Room].
func (v *Volume) Clear() error {
	if v.filler == nil {
		return nil
	}
	err := errors.Join(os.Remove(v.filler.Name()), v.filler.Close())
	v.filler = nil
	return err
}

// The two requests of ioctl that stop a file system and let it go on; those of
// fsfreeze(8).
const (
	freezeRequest = 0xC0045877 // FIFREEZE
	thawRequest   = 0xC0045878 // FITHAW
)

// longestFreeze is when a volume thaws by itself: whoever hangs in it cannot be
// ended, so that a test that is killed must not leave it frozen.
const longestFreeze = 2 * time.Minute

// Freeze implements [Room]. Not even SIGKILL ends who hangs in it.
func (v *Volume) Freeze() error {
	if err := v.Thaw(); err != nil {
		return err
	}
	thaw := exec.Command("sh", "-c", `sleep "$0" && fsfreeze --unfreeze "$1"`, fmt.Sprint(longestFreeze.Seconds()), v.at)
	thaw.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it outlives who started it
	if err := thaw.Start(); err != nil {
		return fmt.Errorf("seeing to it that %s thaws: %w", v.at, err)
	}
	v.thaw = thaw
	return v.ask(freezeRequest)
}

// Thaw implements [Room].
func (v *Volume) Thaw() error {
	if v.thaw == nil {
		return nil
	}
	err := v.ask(thawRequest)
	if errors.Is(err, unix.EINVAL) {
		err = nil // it has thawed by itself
	}
	killing := syscall.Kill(-v.thaw.Process.Pid, syscall.SIGKILL)
	_ = v.thaw.Wait() // that it was killed
	v.thaw = nil
	if errors.Is(killing, syscall.ESRCH) {
		killing = nil
	}
	return errors.Join(err, killing)
}

func (v *Volume) ask(request uint) error {
	at, err := os.Open(v.at)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := unix.IoctlSetInt(int(at.Fd()), request, 0); err != nil {
		return fmt.Errorf("freezing or thawing %s: %w", v.at, err)
	}
	return nil
}

// Close unmounts the file system; whoever still has a file of it open keeps it
// until then.
func (v *Volume) Close() error {
	err := errors.Join(v.Thaw(), v.Clear())
	if unmounting := unix.Unmount(v.at, unix.MNT_DETACH); unmounting != nil {
		err = errors.Join(err, fmt.Errorf("unmounting %s: %w", v.at, unmounting))
	}
	return err
}
