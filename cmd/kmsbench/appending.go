package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// wrapAt is where the file of an appender begins anew, in bytes.
const wrapAt = 64 << 20

// appender puts the same line on disk for every caller, those of all who wait by
// one write and one fdatasync: the least that a server does which answers only
// after a trace is durable. It is written here once more, and as plainly as can
// be, so that it is no part of what it is compared with.
type appender struct {
	file    *os.File
	line    []byte
	waiting chan chan error
	done    sync.WaitGroup
}

// newAppender makes a file in dir, of lines of that many bytes. Close removes it.
func newAppender(dir string, size int) (*appender, error) {
	file, err := os.CreateTemp(dir, "kmsbench-appended")
	if err != nil {
		return nil, fmt.Errorf("making the file to append to: %w", err)
	}
	line := bytes.Repeat([]byte{'x'}, size)
	line[size-1] = '\n'
	a := &appender{file: file, line: line, waiting: make(chan chan error, 1024)}
	a.done.Go(a.write)
	return a, nil
}

// append returns when a line is on disk.
func (a *appender) append() error {
	written := make(chan error, 1)
	a.waiting <- written
	return <-written
}

func (a *appender) write() {
	var batch []chan error
	var out []byte
	at := int64(0)
	for first := range a.waiting {
		batch, out = append(batch[:0], first), append(out[:0], a.line...)
		for range len(a.waiting) {
			batch, out = append(batch, <-a.waiting), append(out, a.line...)
		}
		_, err := a.file.WriteAt(out, at)
		if err == nil {
			err = unix.Fdatasync(int(a.file.Fd()))
		}
		if at += int64(len(out)); at >= wrapAt {
			at = 0
		}
		for _, written := range batch {
			written <- err
		}
	}
}

// close ends it; nobody may append any more.
func (a *appender) close() error {
	close(a.waiting)
	a.done.Wait()
	return errors.Join(a.file.Close(), os.Remove(a.file.Name()))
}
