package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Reader reads the log from a place on, the oldest line first, as far as it is
// on disk for good: a line that was read is never taken back, so its sequence
// is a place to go on from, after a restart, too. It waits for nobody and
// nobody waits for it. It is for one goroutine; close it.
type Reader struct {
	log    *Log
	search *search
	all    bool // every line, marks too
}

// Line is a line of the log.
type Line struct {
	Sequence   uint64
	Hash       Hash
	RecordTime int64  // Unix milliseconds; of a mark, its time
	Mark       bool   // the log writes about itself, see [Mark]
	Body       []byte // members, without sequence and hash

	unsynced uint64
}

// AppendRaw appends the line as it is on disk, with its end: what is copied so
// is a chain that can be verified like the log itself.
func (l *Line) AppendRaw(dst []byte) []byte {
	return appendSeal(append(appendFrame(dst, l.Sequence, l.unsynced), l.Body...), l.Hash)
}

// Batch is what a [Reader] has read at a time.
type Batch struct {
	Lines []Line
	// Above is the place to go on from: everything up to it was read.
	Above uint64
	// End is the sequence of the newest line that is on disk for good.
	End uint64
	// Lost says how many lines above the place asked for are not there any more:
	// retention has removed them before they were read.
	Lost uint64
	// Damaged names what could not be read, or is not as it was written. It was
	// passed over.
	Damaged []string
}

// ErrBehind: the log ends before the place that it is to be read from. It is
// another log than the one that was read before.
var ErrBehind = errors.New("the trace log ends before what was read of it")

// NewReader makes a reader of the traces that fit a query, whose Above, Below
// and Limit do not count; or, where it is nil, of every line, what the log
// writes about itself, too.
func (l *Log) NewReader(q *Query) (*Reader, error) {
	all := q == nil
	if all {
		q = &Query{}
	}
	s, err := newSearch(l.cfg.Dir, *q)
	if err != nil {
		return nil, err
	}
	s.q.Above, s.q.Below, s.below = 0, 0, 0
	return &Reader{log: l, search: s, all: all}, nil
}

// Close gives back what the reader holds.
func (r *Reader) Close() { r.search.decoder.Close() }

// Durable is the sequence of the newest line that is on disk for good; 0: there
// is none.
func (l *Log) Durable() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable - 1
}

// Read returns the lines above a place that fit, at most that many, and about
// that many bytes of them. It returns early when ctx ends, with what it has
// read. A batch without lines may have come far: go on from its Above until
// that is its End.
func (r *Reader) Read(ctx context.Context, above uint64, lines, size int) (Batch, error) {
	r.log.mu.Lock()
	kept, end, durable := r.log.kept, r.log.end, r.log.durable
	r.log.mu.Unlock()
	b := Batch{Above: above, End: durable - 1}
	if above > b.End {
		return b, fmt.Errorf("%w: at %d, and %d were read", ErrBehind, b.End, above)
	}
	if above == b.End || len(kept) == 0 {
		return b, nil
	}
	if oldest := kept[0].first; above+1 < oldest {
		b.Lost = oldest - 1 - above
		b.Above = oldest - 1
	}
	t := taking{Reader: r, ctx: ctx, batch: &b, lines: lines, size: size}
	r.search.answer = Answer{}
	for i, seg := range kept {
		next := durable
		if i+1 < len(kept) {
			next = kept[i+1].first
		}
		if next <= b.Above+1 {
			continue
		}
		length := seg.size
		if i == len(kept)-1 {
			length = end
		}
		more, err := t.segment(seg, length)
		if err != nil {
			return b, err
		}
		if !more {
			break
		}
		// Nothing between is left to look at.
		b.Above = max(b.Above, next-1)
	}
	b.Damaged = r.search.answer.Damaged
	return b, nil
}

// taking is a batch under way.
type taking struct {
	*Reader
	ctx         context.Context
	batch       *Batch
	lines, size int
	bytes       int
	space       []byte // for bodies
}

// enough tells whether the batch is to end here.
func (t *taking) enough() bool {
	return t.ctx.Err() != nil || len(t.batch.Lines) >= t.lines || t.bytes >= t.size
}

// segment reads a segment, and reports whether to go on behind it.
func (t *taking) segment(seg segment, size int64) (more bool, err error) {
	f, packed, size, err := openSegmentFile(t.log.cfg.Dir, seg, size)
	if errors.Is(err, fs.ErrNotExist) {
		return true, t.gone(seg)
	}
	if err != nil {
		return false, fmt.Errorf("reading the trace log: %w", err)
	}
	defer f.Close()
	if !packed {
		return t.plain(f, seg, size)
	}
	s := t.search
	blocks, err := s.blocks(seg, size)
	if err != nil {
		s.damaged(packedName(seg.first), err)
		return true, nil
	}
	for i := range blocks {
		b := &blocks[i]
		if b.next() <= t.batch.Above+1 {
			continue
		}
		if t.enough() {
			return false, nil
		}
		if !t.all && !s.concerns(b, i) {
			t.batch.Above = b.next() - 1
			continue
		}
		if s.text, err = unpack(s.decoder, f, b, &s.packed, s.text); err != nil {
			s.damaged(fmt.Sprintf("%s block %d", packedName(seg.first), i+1), err)
			t.batch.Above = b.next() - 1
			continue
		}
		if !t.take(s.text, b.before, true, packedName(seg.first)) {
			return false, nil
		}
		t.batch.Above = max(t.batch.Above, b.next()-1)
	}
	return true, nil
}

// gone says that a segment is not there: retention has removed it since the
// list was made, or somebody else.
func (t *taking) gone(seg segment) error {
	t.log.mu.Lock()
	kept := t.log.kept
	t.log.mu.Unlock()
	for _, k := range kept {
		if k.first == seg.first {
			t.search.damaged(seg.name(), ErrMissing)
			return nil
		}
	}
	for _, k := range kept {
		if k.first > seg.first {
			t.batch.Lost += k.first - 1 - t.batch.Above
			t.batch.Above = k.first - 1
			break
		}
	}
	return nil
}

// plain reads a segment that is not packed.
func (t *taking) plain(f *os.File, seg segment, size int64) (more bool, err error) {
	at, err := seekLine(f, size, t.batch.Above)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", seg.name(), err)
	}
	buffer := make([]byte, min(maxBlock, size-at))
	var before Hash
	known := false
	for at < size {
		if t.enough() {
			return false, nil
		}
		text := buffer[:min(int64(len(buffer)), size-at)]
		if _, err := f.ReadAt(text, at); err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("reading %s: %w", seg.name(), err)
		}
		whole := bytes.LastIndexByte(text, '\n') + 1
		if whole == 0 { // no line is that long
			t.search.damaged(seg.name(), errForm)
			at += int64(len(text))
			known = false
			continue
		}
		at += int64(whole)
		part := bytes.TrimRight(text[:whole], "\n")
		if len(part) == 0 {
			continue
		}
		part = text[:len(part)+1]
		if !t.take(part, before, known, seg.name()) {
			return false, nil
		}
		before, known = lastHash(part), true
	}
	return true, nil
}

// take takes the lines of a text, of which the one in front of the first has
// the hash before, where that is known. It reports whether to go on.
func (t *taking) take(text []byte, before Hash, known bool, file string) (more bool) {
	s := t.search
	look := t.all || s.mentions(text)
	for raw := range bytes.Lines(text) {
		if bytes.HasPrefix(raw, []byte(`{"segment":`)) {
			h, err := parseHeader(raw)
			if err != nil || h.hash != s.chain.link(h.Prev, h.covered) {
				s.damaged(file, ErrAltered)
			}
			before, known = h.hash, err == nil
			continue
		}
		l, err := parseLine(raw)
		fresh := err == nil && l.seq > t.batch.Above
		if err != nil || known && fresh && l.hash != s.chain.link(before, l.covered) {
			s.damaged(file, fmt.Errorf("%w: the line with sequence %d", ErrAltered, max(l.seq, t.batch.Above+1)))
			if err != nil {
				known = false
				continue
			}
		}
		before, known = l.hash, true
		if !fresh {
			continue
		}
		if t.enough() || l.seq > t.batch.End {
			return false
		}
		t.batch.Above = l.seq
		if look {
			t.add(&l)
		}
	}
	return true
}

// add adds a line that fits to the batch.
func (t *taking) add(l *line) {
	s := t.search
	if fits := s.fits(l); !fits && !t.all {
		return
	}
	if cap(t.space)-len(t.space) < len(l.body) {
		t.space = make([]byte, 0, max(len(l.body), min(t.size, blockSize)))
	}
	start := len(t.space)
	t.space = append(t.space, l.body...)
	got := Line{Sequence: l.seq, Hash: l.hash, RecordTime: s.fields.recordTime, Mark: s.fields.mark, Body: t.space[start:len(t.space):len(t.space)], unsynced: l.unsynced}
	if got.Mark {
		got.RecordTime = s.fields.time
	}
	t.bytes += len(got.Body)
	t.batch.Lines = append(t.batch.Lines, got)
}

// seekNear is how near before a line a search for it ends.
const seekNear = 4 * maxLine

// seekLine finds a place in a plain segment where a line begins, the header or
// one with a sequence of at most that, and not far before the line with it.
// Where a segment is damaged, the place is farther before.
func seekLine(f io.ReaderAt, size int64, sequence uint64) (int64, error) {
	low, high := int64(0), size
	space := make([]byte, 2*maxLine)
	for high-low > seekNear {
		middle := low + (high-low)/2
		text := space[:min(int64(len(space)), size-middle)]
		if _, err := f.ReadAt(text, middle); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		start := bytes.IndexByte(text, '\n') + 1
		length := bytes.IndexByte(text[start:], '\n') + 1
		l, err := parseLine(text[start : start+length])
		if start == 0 || length == 0 || err != nil || l.seq > sequence || middle+int64(start) >= high {
			high = middle
			continue
		}
		low = middle + int64(start)
	}
	return low, nil
}
