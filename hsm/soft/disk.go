package soft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFile bounds every file that is read, in bytes.
const maxFile = 256 << 10

// readFile returns the contents of a file that nobody else may read. A missing
// file is fs.ErrNotExist.
func readFile(name string, acceptable func(*syscall.Stat_t) bool) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	if stat, is := info.Sys().(*syscall.Stat_t); !is || !acceptable(stat) {
		return nil, fmt.Errorf("%s may be read or written by others (mode %04o): give it mode 0600", name, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return b, nil
}

// ownerOnly accepts files that group and others have no right to.
func ownerOnly(stat *syscall.Stat_t) bool { return stat.Mode&0o077 == 0 }

// ownerOrCredential accepts a systemd credential besides. It belongs to
// root:root, and the access control entry for the service's user shows as the
// right of the group to read.
func ownerOrCredential(stat *syscall.Stat_t) bool {
	return ownerOnly(stat) || stat.Uid == 0 && stat.Gid == 0 && stat.Mode&0o037 == 0
}

// writeFile puts contents under name, all or nothing, and returns when it would
// survive a power cut. It makes no directories: a missing one may be a medium
// that is not mounted, and a key must not land on the disk below it.
func writeFile(name string, contents []byte) (err error) {
	temporary := name + ".new"
	// A left-over of a crash could have another mode, so it is not reused.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return syncDirectory(name)
}

// removeFile removes name for good; that it is not there is no error.
func removeFile(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDirectory(name)
}

func syncDirectory(name string) error {
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockFile takes the lock that keeps two processes from writing the same files.
// It is held until the file is closed, and by no one after a crash.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("another process holds %s: a software module serves one process", name)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// onOneMedium tells whether all the files lie on one file system, where they do
// not protect one another.
func onOneMedium(names ...string) bool {
	var first uint64
	for i, name := range names {
		var stat unix.Stat_t
		if err := unix.Stat(name, &stat); err != nil {
			return false
		}
		if i == 0 {
			first = stat.Dev
		} else if stat.Dev != first {
			return false
		}
	}
	return true
}
