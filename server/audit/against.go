package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Against is what a log is compared with, and how much of it.
type Against struct {
	// Checkpoints are those that others have kept of the log. They were opened
	// with a key that is trusted.
	Checkpoints []Checkpoint
	// Since leaves out the segments in front of the one that was open at that
	// time (Unix milliseconds); 0: the whole log. A segment's header carries the
	// chain and the tree on, so that what is read is proved all the same.
	Since int64
}

// Verify is [VerifyAgainst] without checkpoints: that the newest lines were
// taken away, or everything was written anew, it cannot see.
func Verify(dir string) (Report, error) {
	return VerifyAgainst(context.Background(), dir, Against{})
}

// VerifyAgainst reads the log in a directory, which may be a copy, and checks
// every line of it. It changes nothing. What is wrong with the log is in the
// report; the error is that it could not be read, or the end of ctx.
//
// It finds every line that was altered, added, moved or taken away between two
// that are there, and with checkpoints that others have kept, also that the log
// was cut or written anew before them. The log of a running node may be read as
// well; its last lines may then seem torn ([Log.Verify] does better).
func VerifyAgainst(ctx context.Context, dir string, against Against) (Report, error) {
	segments, err := listSegments(dir)
	if err != nil {
		return Report{}, err
	}
	return verify(ctx, dir, segments, -1, against)
}

// Verify is [VerifyAgainst] of a log that is open, as far as it goes now.
func (l *Log) Verify(ctx context.Context, against Against) (Report, error) {
	l.mu.Lock()
	kept, end := l.kept, l.end
	l.mu.Unlock()
	return verify(ctx, l.cfg.Dir, slices.Clone(kept), end, against)
}

// verify checks segments; end is where the last line of the newest one ends,
// -1: where the file does.
func verify(ctx context.Context, dir string, segments []segment, end int64, against Against) (Report, error) {
	c := newChecker()
	c.checkpoints = sortCheckpoints(against.Checkpoints)
	skipped, err := openSince(dir, segments, against.Since)
	if err != nil {
		return Report{}, err
	}
	c.late = skipped > 0
	segments = segments[skipped:]
	last := ""
	for i, s := range segments {
		limit := int64(-1)
		if i == len(segments)-1 {
			limit = end
		}
		err := checkFile(ctx, c, dir, s, limit)
		if errors.Is(err, fs.ErrNotExist) && !s.packed {
			s.packed = true // packed between listing and reading
			err = checkFile(ctx, c, dir, s, -1)
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
	return c.report(len(segments)), nil
}

func (c *checker) report(segments int) Report {
	r := Report{NodeID: c.node, Log: c.log, Segments: segments, Records: c.records, Marks: c.marks, Faults: c.faults, FaultCount: c.faultCount,
		Proved: c.proved, Passed: c.passed, Covered: c.covered, LastHash: c.last}
	if c.begun && c.next > c.first {
		r.First, r.Last = c.first, c.next-1
	}
	return r
}

// openSince is the number of segments in front of the one that was open at a
// time. What a header says of its time is believed only as far as that: less
// is left out where it cannot be read.
func openSince(dir string, segments []segment, since int64) (n int, err error) {
	if since == 0 {
		return 0, nil
	}
	for i := len(segments) - 1; i > 0; i-- {
		h, err := headerOf(dir, segments[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrAltered) {
			return 0, err
		}
		if err == nil && h.Time <= since {
			return i, nil
		}
	}
	return 0, nil
}

// reader is a file that is read until ctx ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements [io.Reader].
func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
