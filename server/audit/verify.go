package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
)

// maxMarks bounds the marks that a report names.
const maxMarks = 1000

// Report is what [Verify] has found.
type Report struct {
	NodeID   string
	Segments int
	Records  uint64 // traces; marks are not among them
	First    uint64 // sequence of the first line, 0 when there is none
	Last     uint64 // sequence of the last line
	LastHash Hash   // of the last line (of a header, when no line follows it)
	Marks    []Mark // what the log says about itself, the first 1,000

	// Proved is how many checkpoints the log fits. Passed is how many could not
	// be compared: the log begins behind them by now, or is broken there.
	Proved, Passed int

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

// Verify is [VerifyAgainst] without checkpoints: that the newest lines were
// taken away, or everything was written anew, it cannot see.
func Verify(dir string) (Report, error) { return VerifyAgainst(dir, nil) }

// VerifyAgainst reads the whole log in a directory, which may be a copy, and checks
// every line of it. It changes nothing. What is wrong with the log is in the
// report; the error is that it could not be read.
//
// It finds every line that was altered, added, moved or taken away between two
// that are there, and with checkpoints that others have kept, also that the log
// was cut or written anew before them. The log of a running node may be read as well; its last
// lines may then seem torn.
func VerifyAgainst(dir string, checkpoints []Checkpoint) (Report, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return Report{}, err
	}
	c := newChecker()
	c.checkpoints = sortCheckpoints(checkpoints)
	last := ""
	for _, s := range segments {
		err := checkFile(c, dir, s)
		if errors.Is(err, fs.ErrNotExist) && !s.packed {
			s.packed = true // packed between listing and reading
			err = checkFile(c, dir, s)
		}
		if errors.Is(err, fs.ErrNotExist) && !c.begun {
			continue // dropped between listing and reading
		}
		if err != nil {
			return Report{}, fmt.Errorf("verifying the trace log: %w", err)
		}
		last = s.name()
	}
	c.finish(last)
	r := Report{NodeID: c.node, Segments: len(segments), Records: c.records, Marks: c.marks, Faults: c.faults, FaultCount: c.faultCount,
		Proved: c.proved, Passed: c.passed}
	if c.begun && c.next > c.first {
		r.First, r.Last = c.first, c.next-1
	}
	r.LastHash = c.last
	return r, nil
}

func checkFile(c *checker, dir string, s segment) error {
	f, err := os.Open(filepath.Join(dir, s.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	if !s.packed {
		_, err = c.segment(s, f)
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	if err := c.packedSegment(s, f); err != nil {
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
	if err != nil && !errors.Is(err, io.EOF) && !isFileError(err) {
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
	blocks, err := reindex(dir, s.first, d)
	if err == nil && !bytes.Equal(have, appendIndex(nil, s.size, blocks)) {
		c.fault(scanned{file: indexName(s.first)}, s.first, ErrAltered, "the index is not that of the segment")
	}
	return nil // what is wrong with the segment has been said
}
