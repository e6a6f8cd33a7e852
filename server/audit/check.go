package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// What can be wrong with a log that is read.
var (
	// ErrAltered: a line is not the one that was written there.
	ErrAltered = errors.New("altered")
	// ErrMissing: lines or whole segments are not there.
	ErrMissing = errors.New("missing")
	// ErrTorn: the last lines are not whole, and nothing shows that they ever
	// were on disk. A crash leaves that; so does somebody who alters the end.
	ErrTorn = errors.New("torn")
	// ErrVersion: a segment was written by a newer version of this package.
	ErrVersion = errors.New("the trace log has a version that this program does not know")
)

// Fault is one place at which a log is not what was written.
type Fault struct {
	File     string // name in the log's directory
	Line     int    // from 1; the header is line 1; 0 is the last line
	Sequence uint64 // of the line that should be there; of the first where several are missing
	Err      error  // one of the errors above, with what was found

	offset int64 // in File
}

// Error says everything on one line.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s line %d, sequence %d: %v", f.File, f.Line, f.Sequence, f.Err)
}

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// maxFaults bounds what is kept of a log that is all wrong.
const maxFaults = 100

// checker follows the chain through a log from its first line to its last, and
// takes down what does not fit. After a fault it goes on with what the next
// line says of itself, so that one altered byte is one fault.
type checker struct {
	chain
	reader *bufio.Reader // of the segment at hand

	linked bool   // chain.last is what the last line says
	treed  bool   // chain.tree is that of the lines, as far as headers are to be believed
	begun  bool   // there was a segment
	first  uint64 // sequence with which the first segment begins, by its name
	node   string // node of the first header that is sound

	faults     []*Fault
	faultCount int
	// durable is the highest sequence of which a line after the first fault, or
	// a checkpoint, says that everything before it was on disk.
	durable uint64
	atFault chain  // before the first fault
	torn    *Fault // set by finish
	highest uint64 // sequence that any line says it has
	// attestedNext is the sequence after the last line of which a checkpoint
	// beside the log says that it was there; only looked at by who opens a log.
	attestedNext uint64

	oldest  uint64 // highest sequence before which lines were dropped on purpose
	records uint64
	marks   []Mark
	newest  header // the last one that has its hash

	checkpoints    []Checkpoint // that are still to come, in order
	proved, passed int          // of the others: what fits, and what could not be compared
	covered        uint64       // sequence of the last line that one of them proves
	late           bool         // the first segment is not the log's first: reading began later
}

func newChecker() *checker {
	return &checker{chain: newChain(), reader: bufio.NewReaderSize(nil, 4*maxLine)}
}

// fault takes down that something is wrong where sequence was expected.
func (c *checker) fault(at scanned, sequence uint64, cause error, format string, args ...any) {
	if c.faultCount == 0 {
		c.atFault = c.chain
	}
	c.faultCount++
	if len(c.faults) < maxFaults {
		what := fmt.Errorf("%w: %s", cause, fmt.Sprintf(format, args...))
		c.faults = append(c.faults, &Fault{File: at.file, Line: at.number, Sequence: sequence, Err: what, offset: at.start})
	}
}

// segment checks a whole segment and returns where its last line ends. Its
// errors are those of reading.
func (c *checker) segment(s segment, r io.Reader) (end int64, err error) {
	lines := c.scan(s, r)
	first, err := lines.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	c.header(s, first)
	end = first.end
	var blank scanned
	for err == nil {
		var l scanned
		if l, err = lines.next(); err != nil {
			break
		}
		if len(l.raw) == 1 && l.whole {
			if blank.number == 0 {
				blank = l
			}
			lines.skipBlank()
			continue
		}
		if blank.number > 0 {
			c.fault(blank, c.next, ErrAltered, "lines in front of others are blank")
			blank, c.linked = scanned{}, false
		}
		c.line(l)
		end = l.end
	}
	if !errors.Is(err, io.EOF) {
		return 0, err
	}
	return end, nil
}

// header checks the first line of a segment against the name of the segment
// and against the line before it.
func (c *checker) header(s segment, at scanned) {
	begun, was := c.begun, c.tree
	if !begun {
		c.begun, c.first = true, s.first
	}
	h, err := parseHeader(at.raw)
	if err != nil {
		cause := ErrAltered
		if errors.Is(err, ErrVersion) {
			cause = ErrVersion
		}
		c.fault(at, s.first, cause, "the segment's header: %v", err)
		c.next, c.linked, c.treed = max(c.next, s.first), false, false
		return
	}
	t, _ := treeOf(h.From, h.First, h.Tree)
	sound := h.hash == c.link(h.Prev, h.covered)
	if sound && c.node == "" {
		c.node = h.NodeID
	}
	switch {
	case !sound:
		c.fault(at, s.first, ErrAltered, "the segment's header does not have its hash")
	case h.First != s.first:
		c.fault(at, s.first, ErrAltered, "the segment begins with sequence %d, which is not what it is named after", h.First)
	case h.NodeID != c.node:
		c.fault(at, s.first, ErrAltered, "the segment is of node %q, those before it of node %q", h.NodeID, c.node)
	case begun && h.First > c.next:
		c.fault(at, c.next, ErrMissing, "the segment begins with sequence %d", h.First)
	case begun && h.First < c.next || c.linked && h.Prev != c.last:
		c.fault(at, h.First, ErrAltered, "the segment does not follow the one before it")
	case begun && c.linked && h.logID() != c.log:
		c.fault(at, h.First, ErrAltered, "the segment is of another log than those before it")
	case begun && c.linked && c.treed && h.From != h.First && !t.same(&was):
		c.fault(at, h.First, ErrAltered, "the header's tree is not that of the lines before it")
	case !begun && h.First == 1 && h.Prev != Hash{}:
		c.fault(at, 1, ErrAltered, "the first segment follows another")
	default:
		c.oldest = max(c.oldest, h.Oldest)
	}
	if sound {
		known := c.log != Hash{}
		if c.newest, c.log = h, h.logID(); !known {
			c.strangers(at)
		}
		c.newest.covered = nil // it is not ours to keep
	}
	c.next, c.last, c.linked = h.First, h.hash, true
	c.tree, c.treed = t, sound
	c.compare(at)
}

// line checks one line after the header.
func (c *checker) line(at scanned) {
	l, err := parseLine(at.raw)
	if err != nil {
		c.fault(at, c.next, ErrAltered, "%v", err)
		c.next++
		c.linked, c.treed = false, false
		return
	}
	good := false
	switch {
	case l.seq > c.next:
		c.fault(at, c.next, ErrMissing, "the line has sequence %d", l.seq)
	case l.seq < c.next:
		c.fault(at, c.next, ErrAltered, "the line has sequence %d", l.seq)
	case c.linked && l.hash != c.link(c.last, l.covered):
		c.fault(at, l.seq, ErrAltered, "the line does not have its hash")
	default:
		good = c.linked
	}
	if c.faultCount > 0 {
		c.durable = max(c.durable, l.seq-l.unsynced)
		if l.seq == c.atFault.next && l.hash == c.link(c.atFault.last, l.covered) {
			// The very line that should have been at the fault. It was written
			// there: a crash moves nothing.
			c.durable = max(c.durable, l.seq+1)
		}
	}
	if c.treed = c.treed && good; c.treed {
		c.tree.add(c.digest, l.hash, nil)
	}
	c.next, c.last, c.linked = l.seq+1, l.hash, true
	c.compare(at)
	c.highest = max(c.highest, l.seq)
	if mark, ok := parseMark(l); !ok {
		c.records++
	} else if good {
		c.mark(mark)
	}
}

func (c *checker) mark(m Mark) {
	if m.Kind == MarkDropped {
		c.oldest = max(c.oldest, m.Before)
	}
	if len(c.marks) < maxMarks {
		c.marks = append(c.marks, m)
	}
}

// finish judges what only the whole log shows: whether the end is torn rather
// than altered, and whether its beginning was removed on purpose. last is the
// name of the last segment.
func (c *checker) finish(last string) {
	if c.begun {
		c.missing(last)
	}
	if c.faultCount > 0 {
		// Only the first fault can be where a crash has stopped the writing.
		if f := c.faults[0]; f.File == last && f.Line > 1 && c.durable <= f.Sequence {
			f.Err = fmt.Errorf("%w: nothing shows that this line was on disk (%v)", ErrTorn, f.Err)
			c.faults, c.faultCount, c.torn = c.faults[:1], 1, f
		}
	}
	if c.first > max(1, c.oldest) && !c.late {
		f := &Fault{File: segmentName(c.first), Line: 1, Sequence: max(1, c.oldest),
			Err: fmt.Errorf("%w: the log begins with sequence %d, and no mark says why", ErrMissing, c.first)}
		c.faults = append([]*Fault{f}, c.faults...)
		c.faultCount++
	}
}

// scanned is one line of a file.
type scanned struct {
	file       string
	number     int // from 1
	start, end int64
	raw        []byte // with its end; valid until the next one
	whole      bool   // it has an end, and no more bytes than a line may have
}

// scanner reads the lines of one file.
type scanner struct {
	r  *bufio.Reader
	at scanned
}

func (c *checker) scan(s segment, r io.Reader) *scanner {
	c.reader.Reset(r)
	return &scanner{r: c.reader, at: scanned{file: s.name()}}
}

// skipBlank passes over the blank lines that are at hand: what is filled ahead
// is a million of them.
func (s *scanner) skipBlank() {
	ahead, _ := s.r.Peek(s.r.Buffered())
	n := len(ahead) - len(bytes.TrimLeft(ahead, "\n"))
	s.r.Discard(n) // it is in the buffer
	s.at.number += n
	s.at.end += int64(n)
}

// next returns the next line, or io.EOF.
func (s *scanner) next() (scanned, error) {
	raw, err := s.r.ReadSlice('\n')
	s.at.number++
	s.at.start = s.at.end
	s.at.end += int64(len(raw))
	s.at.raw, s.at.whole = raw, err == nil && len(raw) <= maxLine
	for errors.Is(err, bufio.ErrBufferFull) {
		raw, err = s.r.ReadSlice('\n')
		s.at.end += int64(len(raw))
		s.at.raw = nil
	}
	if errors.Is(err, io.EOF) && s.at.end > s.at.start {
		err = nil
	}
	if broken, ok := errors.AsType[*unpackError](err); ok {
		broken.line = s.at.number
		return scanned{}, broken
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return scanned{}, fmt.Errorf("reading %s: %w", s.at.file, err)
	}
	return s.at, err
}
