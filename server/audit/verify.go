package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// maxMarks bounds the marks that a report names.
const maxMarks = 1000

// Report is what [Verify] or [VerifyAgainst] has found.
type Report struct {
	NodeID   string
	Log      Hash // which log it is: the hash of its very first header
	Segments int
	Records  uint64 // traces; marks are not among them
	First    uint64 // sequence of the first line, 0 when there is none
	Last     uint64 // sequence of the last line
	LastHash Hash   // of the last line (of a header, when no line follows it)
	Marks    []Mark // what the log says about itself, the first 1,000

	// Proved is how many checkpoints the log fits. Passed is how many could not
	// be compared: the log begins behind them by now, or is broken there.
	Proved, Passed int
	Covered        uint64 // sequence of the last line that a checkpoint proves

	Faults     []*Fault // the first 100, in the order of the log
	FaultCount int
}

// Err is the first fault, nil when there is none.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return r.Faults[0]
}

// checkFile checks the file of a segment, of a plain one no more than limit
// bytes (-1: all).
func checkFile(ctx context.Context, c *checker, dir string, s segment, limit int64) error {
	f, err := os.Open(filepath.Join(dir, s.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	if !s.packed {
		text := io.Reader(f)
		if limit >= 0 {
			text = io.LimitReader(f, limit)
		}
		_, err = c.segment(s, reader{ctx, text})
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	if err := c.packedSegment(s, reader{ctx, f}); err != nil {
		return err
	}
	return c.index(dir, s)
}

// packedSegment checks a packed segment, which is unpacked on the way.
func (c *checker) packedSegment(s segment, f io.Reader) error {
	d, err := newDecoder(f)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = c.segment(s, unpacking{d})
	if broken, ok := errors.AsType[*unpackError](err); ok {
		c.fault(scanned{file: s.name(), number: broken.line}, max(c.next, s.first), ErrAltered, "the segment cannot be unpacked from here on: %v", broken.err)
		c.linked = false
		return nil
	}
	return err
}

// unpackError is that a packed segment cannot be unpacked from somewhere on.
type unpackError struct {
	line int
	err  error
}

func (e *unpackError) Error() string { return e.err.Error() }

// unpacking tells what is wrong with the frames from what is wrong with the
// file.
type unpacking struct{ d *zstd.Decoder }

func (u unpacking) Read(p []byte) (int, error) {
	n, err := u.d.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !isFileError(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = &unpackError{err: err}
	}
	return n, err
}

func isFileError(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// index checks that the index of a packed segment is the one that the segment
// gives: with another one a search would miss traces. One that is not there is
// made again when the log is opened.
func (c *checker) index(dir string, s segment) error {
	have, err := os.ReadFile(filepath.Join(dir, indexName(s.first)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := newDecoder(nil)
	if err != nil {
		return err
	}
	defer d.Close()
	x, err := reindex(dir, s.first, d)
	if err == nil && !bytes.Equal(have, x.append(nil)) {
		c.fault(scanned{file: indexName(s.first)}, s.first, ErrAltered, "the index is not that of the segment")
	}
	return nil // what is wrong with the segment has been said
}
