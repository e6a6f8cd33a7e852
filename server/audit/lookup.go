package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// blocks are those of a packed segment of that many bytes.
func (s *search) blocks(seg segment, size int64) ([]block, error) {
	x, space, err := readIndex(s.dir, seg.first, size, len(s.unique) > 0, s.space)
	s.space = space
	if err == nil {
		s.counts, err = x.holders(s.terms, s.counts)
	}
	if err != nil {
		// It takes a second to make one, and the log does so soon; meanwhile it
		// is made for this search.
		if x, err = reindex(s.dir, seg.first, s.decoder); err == nil {
			s.counts, err = x.holders(s.terms, s.counts)
		}
		if err != nil {
			return nil, err
		}
	}
	return x.blocks, nil
}

// concerns tells whether a block, the segment's i-th, may hold what is looked
// for.
func (s *search) concerns(b *block, i int) bool {
	q := &s.q
	if int(s.counts[i]) < len(s.terms) || s.below != 0 && b.first >= s.below || q.Above != 0 && b.next() <= q.Above+1 ||
		q.After != 0 && b.latest <= q.After || q.Before != 0 && b.earliest >= q.Before || b.lines == 0 {
		return false
	}
	for _, t := range s.unique {
		if !mayHold(b.filter, t) {
			return false
		}
	}
	return true
}

// ahead has the system read blocks before they are looked at: on a cold disk
// many are on their way at a time.
type ahead struct {
	f    *os.File
	at   int // the blocks from here on were asked for
	sent int // of them, those that were wanted
}

// readAhead is how many blocks are asked for in advance.
const readAhead = 16

// read is told that block i comes next; wanted says which blocks are wanted.
func (a *ahead) read(i int, wanted func(i int) (*block, bool)) {
	if i < a.at {
		a.sent = 0
	}
	for ; a.at > 0 && (a.sent < readAhead || a.at > i); a.at-- {
		if b, is := wanted(a.at - 1); is {
			a.sent++
			// It is advice: whether it is followed changes no answer.
			_ = unix.Fadvise(int(a.f.Fd()), b.offset, int64(b.size), unix.FADV_WILLNEED)
		}
	}
}
