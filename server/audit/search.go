package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Found is a trace that was found.
type Found struct {
	Sequence   uint64
	TraceID    string
	RecordTime int64  // Unix milliseconds
	Body       []byte // members of the line, without sequence and hash

	user string // form of its user's id, where each user counts once
}

// Answer is what a search has found, the newest first.
type Answer struct {
	Found []Found
	// Next is where to go on: the Below of a query for what is left. 0: there
	// is no more.
	Next uint64
	// Damaged names what could not be searched, or holds lines that are not as
	// they were written: what was looked for may be missing because of it.
	Damaged []string
	// Read is how many bytes of text were looked through.
	Read int64
}

// maxDamaged bounds the places that an answer names.
const maxDamaged = 10

// Search looks for traces, the newest first (by sequence). It returns early
// when ctx ends, with what it has found, and says where to go on; so whoever
// wants an answer soon bounds ctx. Memory is bounded, whatever the log holds.
// Every line that is returned, and every line between, has been checked against
// its hash.
func (l *Log) Search(ctx context.Context, q Query) (Answer, error) {
	select {
	case l.searches <- struct{}{}:
		defer func() { <-l.searches }()
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("waiting for other searches: %w", context.Cause(ctx))
	}
	l.mu.Lock()
	kept, end, next, oldest := l.kept, l.end, l.written, l.oldest
	l.mu.Unlock()
	s, err := newSearch(l.cfg.Dir, q)
	if err != nil {
		return Answer{}, err
	}
	if q.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Within)
		defer cancel()
	}
	defer s.decoder.Close()
	for i := len(kept) - 1; i >= 0; i-- {
		size := kept[i].size
		if i == len(kept)-1 {
			size = end
		}
		s.follows = next
		if s.below != 0 && kept[i].first >= s.below || q.Above != 0 && next <= q.Above+1 {
			next = kept[i].first
			continue
		}
		done := s.segment(ctx, kept[i], size)
		if s.gone && l.keeps(kept[i].first) { // else it was dropped meanwhile
			s.damaged(kept[i].name(), fmt.Errorf("%w: the traces from sequence %d to %d", ErrMissing, kept[i].first, next-1))
		}
		if done {
			return s.answer, nil
		}
		next = kept[i].first
	}
	s.begins(kept[0], oldest)
	s.answer.Next = 0
	return s.answer, nil
}

// keeps tells whether the segment that begins with first has not been dropped.
func (l *Log) keeps(first uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.kept, func(s segment) bool { return s.first == first })
}

// search is one under way.
type search struct {
	dir     string
	q       Query
	below   uint64
	want    [fieldCount][]byte // forms; nil: anything
	except  []byte             // form of a name that does not fit; nil: none
	names   [][]byte           // forms of names, of which one must fit; nil: any
	users   map[string]bool    // whose traces were found, where each user counts once
	terms   []term             // of fields that many traces share
	unique  []term             // of others
	decoder *zstd.Decoder

	follows uint64 // sequence that follows the last line of the segment at hand
	gone    bool   // the segment at hand has no file

	chain               chain // to check hashes with
	fields              fields
	text, packed, space []byte
	counts              []uint8
	batch               []Found // of one block, the oldest first
	bytes               int
	answer              Answer
}

func newSearch(dir string, q Query) (*search, error) {
	d, err := newDecoder(nil)
	if err != nil {
		return nil, err
	}
	s := &search{dir: dir, q: q, below: q.Below, decoder: d, chain: newChain()}
	if q.TraceID != "" {
		s.q = Query{TraceID: q.TraceID, Limit: q.Limit, MaxBytes: q.MaxBytes, ProjectID: q.ProjectID, Above: q.Above, Below: q.Below}
		s.unique = append(s.unique, termOf(fieldTraceID, []byte(q.TraceID)))
	}
	q = s.q
	for i, value := range q.conditions() {
		if value == "" {
			continue
		}
		f := field(i)
		s.want[f] = f.appendTo(nil, value)
		if t := termOf(f, s.want[f]); f.unique() {
			s.unique = append(s.unique, t)
		} else {
			s.terms = append(s.terms, t)
		}
	}
	if q.Except != "" {
		s.except = fieldTraceName.appendTo(nil, q.Except)
	}
	for _, name := range q.Names {
		s.names = append(s.names, fieldTraceName.appendTo(nil, name))
	}
	if q.EachUser {
		s.users = make(map[string]bool)
	}
	if s.q.Limit <= 0 {
		s.q.Limit = 1
	}
	return s, nil
}

// segment looks through a segment and reports whether the search is over.
func (s *search) segment(ctx context.Context, seg segment, size int64) (done bool) {
	f, packed, size, err := openSegmentFile(s.dir, seg, size)
	if s.gone = errors.Is(err, fs.ErrNotExist); s.gone {
		return false
	}
	if err != nil {
		return s.damaged(seg.name(), err)
	}
	defer f.Close()
	if !packed {
		return s.plain(ctx, f, seg, size)
	}
	blocks, err := s.blocks(seg, size)
	if err != nil {
		return s.damaged(packedName(seg.first), err)
	}
	after := seg.first
	if n := len(blocks); n > 0 {
		after = blocks[n-1].next()
	}
	s.ends(seg, after)
	ahead := ahead{f: f, at: len(blocks)}
	for i := len(blocks) - 1; i >= 0; i-- {
		ahead.read(i, func(i int) (*block, bool) {
			return &blocks[i], s.concerns(&blocks[i], i)
		})
		b := &blocks[i]
		if !s.concerns(b, i) {
			continue
		}
		if s.stop(ctx, b.next()) {
			return true
		}
		if s.text, err = unpack(s.decoder, f, b, &s.packed, s.text); err != nil {
			s.damaged(fmt.Sprintf("%s block %d", packedName(seg.first), i+1), err)
			continue
		}
		if s.lines(s.text, b.before, packedName(seg.first)) {
			return true
		}
	}
	return false
}

// ends compares where a segment ends with where the next one begins.
func (s *search) ends(seg segment, next uint64) {
	if next < s.follows {
		s.damaged(seg.name(), fmt.Errorf("%w: the traces from sequence %d to %d", ErrMissing, next, s.follows-1))
	}
}

// begins compares where the log begins with where it should: what was removed
// by somebody else is missing, unless it is older than what is looked for.
func (s *search) begins(first segment, oldest uint64) {
	older := s.q.After != 0 && first.created != 0 && first.created <= s.q.After
	if first.first > oldest && s.q.Above < first.first-1 && !older {
		s.damaged(first.name(), fmt.Errorf("%w: the traces from sequence %d to %d, in front of it", ErrMissing, max(oldest, s.q.Above+1), first.first-1))
	}
}

// stop tells whether to stop before lines below next are looked at. Enough is
// no reason: only one more that fits says that there is more.
func (s *search) stop(ctx context.Context, next uint64) bool {
	if ctx.Err() == nil {
		return false
	}
	s.answer.Next = next
	if s.below != 0 {
		s.answer.Next = min(next, s.below)
	}
	return true
}

// lastHash is the hash that the last line of a text says it has.
func lastHash(text []byte) (h Hash) {
	start := bytes.LastIndexByte(text[:max(0, len(text)-1)], '\n') + 1
	if _, sum, err := unseal(text[start:]); err == nil {
		h = sum
	}
	return h
}

// plainBlock is how much of a segment that is not packed is looked at at once.
const plainBlock = 256 << 10

// plain looks through a segment that is not packed, from its end.
func (s *search) plain(ctx context.Context, f *os.File, seg segment, size int64) bool {
	buffer := make([]byte, plainBlock+2*maxLine)
	last := true // the block at hand is the segment's last one
	for end := size; end > 0; {
		from := max(0, end-plainBlock)
		back := max(0, from-maxLine) // so that the hash of the line before is there
		text := buffer[:end-back]
		if _, err := f.ReadAt(text, back); err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: the traces from sequence %d to %d, or some of them: the file is shorter than it was", ErrMissing, seg.first, s.follows-1)
			}
			return s.damaged(seg.name(), err)
		}
		start := 0
		if from > 0 {
			// The first line that begins in the block.
			i := bytes.IndexByte(text[from-back-1:], '\n')
			if i < 0 {
				return s.damaged(seg.name(), errForm)
			}
			start = int(from-back) - 1 + i + 1
		}
		if start >= len(text) { // one line fills the block
			return s.damaged(seg.name(), errForm)
		}
		before := Hash{}
		if start > 0 {
			before = lastHash(text[:start])
		}
		block := bytes.TrimRight(text[start:], "\n")
		if len(block) > 0 {
			next := sequenceAfter(block)
			if last {
				s.ends(seg, next)
				last = false
			}
			if s.stop(ctx, next) {
				return true
			}
			if s.lines(text[start:start+len(block)+1], before, seg.name()) {
				return true
			}
		}
		end = back + int64(start)
	}
	if last {
		s.ends(seg, seg.first) // it is blank
	}
	return false
}

// sequenceAfter is the sequence that follows the last line of a block.
func sequenceAfter(block []byte) uint64 {
	line := append(bytes.Clone(block[bytes.LastIndexByte(block, '\n')+1:]), '\n')
	if l, err := parseLine(line); err == nil {
		return l.seq + 1
	}
	if h, err := parseHeader(line); err == nil {
		return h.First
	}
	return maxSequence // what it is, is said elsewhere
}

// lines looks through the lines of a block, of which the one in front of the
// first has the hash before, and reports whether the search is over.
func (s *search) lines(text []byte, before Hash, file string) (done bool) {
	s.batch = s.batch[:0]
	s.answer.Read += int64(len(text))
	look := s.mentions(text) // else only hashes are checked
	last, first := before, uint64(0)
	for raw := range bytes.Lines(text) {
		if bytes.HasPrefix(raw, []byte(`{"segment":`)) {
			h, err := parseHeader(raw)
			if err != nil || h.hash != s.chain.link(h.Prev, h.covered) {
				s.damaged(file, ErrAltered)
			}
			last = h.hash
			continue
		}
		l, err := parseLine(raw)
		if err != nil || l.hash != s.chain.link(last, l.covered) {
			s.damaged(file, fmt.Errorf("%w: the line with sequence %d", ErrAltered, max(l.seq, first)))
		}
		if err != nil {
			continue
		}
		if first == 0 {
			first = l.seq
		}
		last = l.hash
		if look && s.fits(&l) {
			found := Found{Sequence: l.seq, TraceID: TraceID(l.hash), RecordTime: s.fields.recordTime, Body: l.body}
			if s.users != nil {
				found.user = string(s.fields.text[fieldUserID])
			}
			s.batch = append(s.batch, found)
		}
	}
	for i := len(s.batch) - 1; i >= 0; i-- {
		found := s.batch[i]
		if s.users[found.user] {
			continue
		}
		size := len(found.Body)
		if n := len(s.answer.Found); n >= s.q.Limit || n > 0 && s.q.MaxBytes > 0 && s.bytes+size > s.q.MaxBytes {
			s.answer.Next = found.Sequence + 1
			return true
		}
		found.Body = bytes.Clone(found.Body)
		s.bytes += size
		if s.users != nil {
			s.users[found.user] = true
		}
		s.answer.Found = append(s.answer.Found, found)
	}
	return false
}

// mentions tells whether a text holds every value that is looked for, anywhere.
func (s *search) mentions(text []byte) bool {
	for _, form := range s.want {
		if form != nil && !bytes.Contains(text, form) {
			return false
		}
	}
	return true
}

// fits tells whether a line is a trace that is looked for.
func (s *search) fits(l *line) bool {
	q := &s.q
	if s.below != 0 && l.seq >= s.below || l.seq <= q.Above {
		return false
	}
	if !scanFields(l.body, &s.fields) || s.fields.mark {
		return false
	}
	f := &s.fields
	if q.After != 0 && f.time <= q.After || q.Before != 0 && f.time >= q.Before || q.RecordedBy != 0 && f.recordTime > q.RecordedBy {
		return false
	}
	if q.TraceID != "" && TraceID(l.hash) != q.TraceID {
		return false
	}
	if s.except != nil && bytes.Equal(f.text[fieldTraceName], s.except) {
		return false
	}
	if s.names != nil && !slices.ContainsFunc(s.names, func(name []byte) bool { return bytes.Equal(f.text[fieldTraceName], name) }) {
		return false
	}
	if s.users != nil && len(f.text[fieldUserID]) <= len(`""`) {
		return false
	}
	for i, form := range s.want {
		if form != nil && !f.has(field(i), form) {
			return false
		}
	}
	return s.mayAsk(f)
}

// mayAsk tells whether a line may be found by what is asked of it: who looks
// through a project in which it is only because one of its keys was used finds
// nothing out of what they are not shown (see [Found.ShowIn]).
func (s *search) mayAsk(f *fields) bool {
	project := s.want[fieldProjectID]
	if project == nil || bytes.Equal(f.text[fieldProjectID], project) {
		return true
	}
	return s.want[fieldUserName] == nil && s.want[fieldAccessKeyID] == nil && s.want[fieldResourceName] == nil && s.want[fieldRequestID] == nil
}

// damaged takes down what could not be searched. It returns false: the search
// goes on.
func (s *search) damaged(where string, err error) bool {
	text := fmt.Sprintf("%s: %v", where, err)
	if len(s.answer.Damaged) < maxDamaged && !slices.Contains(s.answer.Damaged, text) {
		s.answer.Damaged = append(s.answer.Damaged, text)
	}
	return false
}

// openSegmentFile opens a segment in whatever form it has by now. size is that
// of the plain form, and becomes that of what was opened.
func openSegmentFile(dir string, seg segment, size int64) (f *os.File, packed bool, n int64, err error) {
	for range 2 {
		if !seg.packed {
			f, err = os.Open(filepath.Join(dir, segmentName(seg.first)))
			if err == nil {
				return f, false, size, nil
			}
		}
		if f, err = os.Open(filepath.Join(dir, packedName(seg.first))); err == nil {
			info, err := f.Stat()
			if err != nil {
				return nil, false, 0, errors.Join(err, f.Close())
			}
			return f, true, info.Size(), nil
		}
		time.Sleep(time.Millisecond) // between the one form and the other
	}
	return nil, false, 0, err
}
