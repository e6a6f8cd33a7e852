package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// recover brings the writer to where the log ends and returns what is wrong
// with the log. What it has done about that is in marks that are yet to be
// written.
func (w *writer) recover() ([]*Fault, error) {
	err := os.Remove(filepath.Join(w.dir.Name(), newSegment))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing a segment that was never begun: %w", err)
	}
	if w.segments, err = listSegments(w.dir.Name()); err != nil {
		return nil, err
	}
	now := w.cfg.Clock()
	if len(w.segments) == 0 {
		w.chain, w.oldest = newChain(), 1
		return nil, w.beginFirst()
	}
	c, end, err := w.check()
	if err != nil {
		return nil, err
	}
	if c.newest.NodeID != "" && c.newest.NodeID != w.cfg.NodeID {
		return nil, fmt.Errorf("%w: it is of %q, this node is %q", ErrNode, c.newest.NodeID, w.cfg.NodeID)
	}
	newest := w.segments[len(w.segments)-1]
	w.chain, w.oldest = c.chain, max(1, c.oldest)
	behind := false
	for _, f := range c.faults {
		if errors.Is(f, ErrVersion) && f.File == newest.name() {
			return nil, f // in front of others, it is no newer version
		}
		w.cfg.Logger.Error("the trace log is not as it was written", "file", f.File, "line", f.Line, "sequence", f.Sequence, "error", f.Err)
		behind = behind || f.File == newest.name() && f != c.torn
	}
	if c.torn != nil {
		w.chain, end = c.atFault, c.torn.offset
	}
	if broken := c.broken(); broken != nil {
		w.mark(Mark{Kind: MarkBroken, Time: now.UnixMilli(), Reason: reasonOf(broken), File: broken.File, Line: broken.Line,
			Expected: broken.Sequence, Count: uint64(c.faultCount)})
	}
	w.finishDrop()
	if behind {
		w.next = max(max(c.highest, newest.first)+1, c.attestedNext)
		w.tree = tree{from: w.next}
		return c.faults, w.beginFirst()
	}
	if newest.packed { // the one that was written to is not there any more
		w.tree = tree{from: w.next}
		return c.faults, w.beginFirst()
	}
	return c.faults, w.resume(newest, end, c.torn)
}

// check follows the chain over the ends of the closed segments and through the
// newest one, and returns where the last line of that ends.
func (w *writer) check() (c *checker, end int64, err error) {
	c = newChecker()
	newest := len(w.segments) - 1
	for i := range w.segments {
		s := &w.segments[i]
		f, err := os.Open(filepath.Join(w.dir.Name(), s.name()))
		if err != nil {
			return nil, 0, fmt.Errorf("checking the trace log: %w", err)
		}
		switch {
		case s.packed:
			err = c.packedEnds(*s, f)
		case i == newest:
			end, err = c.segment(*s, f)
		default:
			err = c.ends(*s, f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, 0, fmt.Errorf("checking the trace log: %w", err)
		}
		if c.newest.First == s.first {
			s.created = c.newest.Time
		}
	}
	if err := c.attest(w.dir.Name()); err != nil {
		// Peers have the same ones: the log is judged by them, too.
		w.cfg.Logger.Error("the checkpoints beside the trace log cannot be read", "error", err)
	}
	c.finish(w.segments[newest].name())
	return c, end, nil
}

// ends checks the first line of a closed segment against what was before it,
// and takes its last line for what is to follow.
func (c *checker) ends(s segment, f io.ReaderAt) error {
	first, err := c.scan(s, io.NewSectionReader(f, 0, s.size)).next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	c.header(s, first)
	raw, start, err := lastLine(f, s.size)
	if err != nil {
		return fmt.Errorf("reading the end of %s: %w", s.name(), err)
	}
	if start == 0 {
		return nil // there is no line but the header
	}
	l, err := parseLine(raw)
	if err != nil || l.seq < s.first {
		c.fault(scanned{file: s.name()}, c.next, ErrAltered, "the last line: %v", errForm)
		c.linked = false
		return nil
	}
	c.next, c.last, c.linked, c.treed = l.seq+1, l.hash, true, false
	c.highest = max(c.highest, l.seq)
	return nil
}

// packedEnds is ends of a packed segment.
func (c *checker) packedEnds(s segment, f io.ReaderAt) error {
	frames, err := framesOf(f, s.size)
	if err == nil && len(frames) == 0 {
		err = fmt.Errorf("%w: the packed segment is empty", ErrAltered)
	}
	if err != nil && !errors.Is(err, ErrAltered) {
		return err
	}
	var text, packed []byte
	if err == nil {
		d, decErr := newDecoder(nil)
		if decErr != nil {
			return decErr
		}
		defer d.Close()
		if text, err = unpack(d, f, &frames[0], &packed, nil); err == nil && len(frames) > 1 {
			head, _, _ := bytes.Cut(text, []byte{'\n'})
			head = append(bytes.Clone(head), '\n')
			if text, err = unpack(d, f, &frames[len(frames)-1], &packed, nil); err == nil {
				text = append(head, text...)
			}
		}
	}
	if errors.Is(err, ErrAltered) {
		c.fault(scanned{file: s.name(), number: 1}, s.first, ErrAltered, "%v", err)
		if !c.begun {
			c.begun, c.first = true, s.first
		}
		c.linked, c.next = false, max(c.next, s.first)
		return nil
	}
	if err != nil {
		return err
	}
	s.size = int64(len(text))
	return c.ends(s, bytes.NewReader(text))
}

// lastLine returns the last line before what was filled ahead, and where it
// starts.
func lastLine(f io.ReaderAt, size int64) (raw []byte, start int64, err error) {
	block := make([]byte, 4*maxLine)
	for end := size; end > 0; {
		from := max(0, end-int64(len(block)))
		part := block[:end-from]
		if _, err := f.ReadAt(part, from); err != nil {
			return nil, 0, err
		}
		text := bytes.TrimRight(part, "\n")
		if len(text) == 0 {
			if from == 0 {
				break
			}
			end = from + 1 // the first of them may be the end of the line
			continue
		}
		if len(part) > len(text) {
			text = part[:len(text)+1]
		}
		i := bytes.LastIndexByte(text[:len(text)-1], '\n')
		if i >= 0 || from == 0 {
			return text[i+1:], from + int64(i+1), nil
		}
		if len(text) > maxLine {
			return nil, from, nil
		}
		end = from + int64(len(text))
	}
	return nil, 0, nil
}

// broken is the first fault that is not a torn end.
func (c *checker) broken() *Fault {
	for _, f := range c.faults {
		if f != c.torn {
			return f
		}
	}
	return nil
}

func reasonOf(f *Fault) string {
	if errors.Is(f, ErrMissing) {
		return ErrMissing.Error()
	}
	return ErrAltered.Error()
}

// finishDrop removes segments that were to be removed when the node stopped.
func (w *writer) finishDrop() {
	n := 0
	for n < len(w.segments)-1 && w.segments[n+1].first <= w.oldest {
		n++
	}
	if n > 0 {
		w.cfg.Logger.Info("removing segments of the trace log that were dropped before", "segments", n)
		w.remove(n)
	}
}

// beginFirst begins a segment when none is open.
func (w *writer) beginFirst() error {
	err := w.begin(w.cfg.Clock(), w.cfg.Reserve)
	if noSpace(err) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

// resume goes on with the newest segment behind end, and cuts off what a crash
// has torn.
func (w *writer) resume(newest segment, end int64, torn *Fault) error {
	f, err := w.cfg.open(filepath.Join(w.dir.Name(), newest.name()), 0)
	if err != nil {
		return fmt.Errorf("opening the newest segment of the trace log: %w", err)
	}
	w.open = &openSegment{file: f, offset: end, fill: w.fill}
	if w.open.prepared, err = f.Size(); err != nil {
		return fmt.Errorf("reading the size of the newest segment: %w", err)
	}
	if torn != nil {
		if err := w.cut(torn); err != nil {
			return fmt.Errorf("cutting off the torn end of the trace log: %w", err)
		}
	}
	// What is there may have been written and not synced.
	if err := f.Datasync(); err != nil {
		return fmt.Errorf("syncing the newest segment of the trace log: %w", err)
	}
	return nil
}

// cut cuts off what a crash has torn, and keeps its digest.
func (w *writer) cut(torn *Fault) error {
	m := Mark{Kind: MarkCut, Time: w.cfg.Clock().UnixMilli(), File: torn.File, Line: torn.Line, Expected: torn.Sequence}
	sum := sha256.New()
	var err error
	if m.Bytes, err = io.Copy(sum, io.NewSectionReader(w.open.file, w.open.offset, w.open.free())); err != nil {
		return err
	}
	m.Digest = (*Hash)(sum.Sum(nil))
	if err := w.open.trim(); err != nil {
		return err
	}
	w.mark(m)
	return nil
}
