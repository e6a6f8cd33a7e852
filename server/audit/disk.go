package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// file is what the log asks of an open segment. Tests put a disk that fails in
// planned ways behind it.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Datasync returns when all that was written is on disk.
	Datasync() error
	Size() (int64, error)
}

// openFunc opens a file for reading and writing; flag is that of os.OpenFile.
type openFunc func(path string, flag int) (file, error)

// osFile is a file of the operating system.
type osFile struct {
	*os.File
	conn syscall.RawConn

	syncing  sync.Mutex
	datasync func(fd uintptr) // made once, sets err
	err      error
}

func openOSFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file := &osFile{File: f, conn: conn}
	file.datasync = func(fd uintptr) {
		file.err = unix.Fdatasync(int(fd))
		for errors.Is(file.err, unix.EINTR) {
			file.err = unix.Fdatasync(int(fd))
		}
	}
	return file, nil
}

// Datasync leaves out what fsync would write besides: the time of the last
// change.
func (f *osFile) Datasync() error {
	f.syncing.Lock()
	defer f.syncing.Unlock()
	// The raw connection keeps the file open meanwhile; all that it can fail
	// with is that the file is closed already.
	if err := f.conn.Control(f.datasync); err != nil {
		return fmt.Errorf("%w: %w", os.ErrClosed, err)
	}
	return f.err
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// noSpace tells a disk (or quota, or limit on files) that is full, which
// passes, from one that fails, which does not.
func noSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// passes tells what goes away by itself, want of space or of open files, from
// a disk that fails.
func passes(err error) bool {
	return noSpace(err) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// lockDir opens the directory and keeps other processes out of it until it is
// closed.
func lockDir(path string) (*os.File, error) {
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("making the directory of the trace log: %w", err)
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the trace log: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %s", ErrLocked, path)
		}
		return nil, errors.Join(fmt.Errorf("locking the trace log: %w", err), dir.Close())
	}
	return dir, nil
}

// makeDir makes a directory and those above it that are missing, and has them
// on disk: a file that is synced is lost with its directory.
func makeDir(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	var made []string // what got a new entry
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		made = append(made, filepath.Dir(at))
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, above := range made {
		dir, err := os.Open(above)
		if err != nil {
			return err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return err
		}
	}
	return nil
}

// shareOfDisk is that part of the size of the file system that holds path.
func shareOfDisk(path string, percent int64) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("asking for the size of the trace log's file system: %w", err)
	}
	return int64(s.Blocks) / 100 * percent * int64(s.Bsize), nil
}
