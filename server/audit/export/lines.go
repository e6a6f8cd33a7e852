package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"github.com/raftkms/raftkms/server/audit"
)

// lines writes what is on the log's disk, line by line as it is there, so that
// a copy is a chain like the log itself.
type lines struct {
	cfg    Config
	file   *os.File // nil: not open
	size   int64
	text   []byte
	anew   atomic.Bool
	stuck  chan error // of a write to standard output that has not ended; nil: there is none
	stdout *os.File
}

func newLines(c Config) *lines {
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	return &lines{cfg: c, stdout: os.Stdout}
}

func (l *lines) reopen() { l.anew.Store(true) }

func (l *lines) close() {
	if l.file != nil {
		l.file.Close() // it is synced
		l.file = nil
	}
}

func (l *lines) send(ctx context.Context, batch []audit.Line) error {
	if l.cfg.Path == "-" {
		return l.print(ctx, batch)
	}
	if err := l.open(); err != nil {
		return err
	}
	l.text = appendLines(l.text[:0], batch)
	if l.cfg.MaxSize > 0 && l.size > 0 && l.size+int64(len(l.text)) > l.cfg.MaxSize {
		if err := l.rotate(); err != nil {
			return err
		}
		if err := l.open(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(l.text)
	l.size += int64(n)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.close() // it is opened again, and its end looked at
		return fmt.Errorf("writing traces: %w", err)
	}
	return nil
}

func appendLines(dst []byte, batch []audit.Line) []byte {
	for i := range batch {
		dst = batch[i].AppendRaw(dst)
	}
	return dst
}

// open opens the file, again where it was renamed or removed, or where somebody
// asked for it. What a crash has torn gets its end: the line comes again.
func (l *lines) open() error {
	if l.file != nil && (l.anew.Swap(false) || !l.same()) {
		l.close()
	}
	if l.file != nil {
		return nil
	}
	l.anew.Store(false)
	f, err := os.OpenFile(l.cfg.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("opening the file for traces: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no file")
	}
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte{'\n'})
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(l.cfg.Path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("opening the file for traces %s: %w", l.cfg.Path, err), f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// same tells whether the open file is still the one with the name.
func (l *lines) same() bool {
	open, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(l.cfg.Path)
	return err == nil && os.SameFile(open, named)
}

// rotate renames the file to PATH.1, that to PATH.2 and so on.
func (l *lines) rotate() error {
	l.close()
	name := func(n int) string { return l.cfg.Path + "." + strconv.Itoa(n) }
	for n := l.cfg.Keep - 1; n > 0; n-- {
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("renaming a file of traces: %w", err)
		}
	}
	if err := os.Rename(l.cfg.Path, name(1)); err != nil {
		return fmt.Errorf("renaming a file of traces: %w", err)
	}
	return nil
}

// print writes to standard output, which may block for good: whoever is stuck
// there is waited for, and holds up nobody else.
func (l *lines) print(ctx context.Context, batch []audit.Line) error {
	if l.stuck == nil {
		text := appendLines(nil, batch)
		done := make(chan error, 1)
		go func() { // it ends with the write; nothing else could end it
			_, err := l.stdout.Write(text)
			done <- err
		}()
		l.stuck = done
	}
	select {
	case err := <-l.stuck:
		l.stuck = nil
		if err != nil {
			return fmt.Errorf("writing traces to standard output: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("writing traces to standard output: nobody reads it: %w", context.Cause(ctx))
	}
}
