package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Ledger numbers every AppendEntries that a node sends, and keeps which of them
// its peers have answered in the newest term. Whoever notes the last number and
// then sees an answer to a higher one knows that the peer was asked after the
// note was made, however long anything was paused or under way in between.
//
// The zero Ledger is empty.
type Ledger struct {
	mu     sync.Mutex
	sent   uint64                   // the last number given out
	term   uint64                   // what is in acked was acknowledged in this term
	acked  map[raft.ServerID]uint64 // the highest number that a peer acknowledged
	over   uint64                   // the highest number answered from a higher term than asked in ...
	beyond uint64                   // ... and the highest such term
	news   chan struct{}            // closed at the next answer; nil when nobody waits
}

// Number returns the next number. It is for one request, which is sent only
// after the call.
func (l *Ledger) Number() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	return l.sent
}

// Sent returns the last number given out. Requests with higher ones are sent
// after the call.
func (l *Ledger) Sent() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Answered notes the answer to the request of that number, which was of term
// asked; the peer was in term answered when it dealt with it.
//
// Only the terms count, not success: see cluster/readindex.go for why a refusal
// for want of a log entry is as good.
func (l *Ledger) Answered(peer raft.ServerID, number, asked, answered uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case answered > asked:
		l.over, l.beyond = max(l.over, number), max(l.beyond, answered)
	case answered == asked && asked >= l.term:
		if asked > l.term || l.acked == nil {
			l.term, l.acked = asked, make(map[raft.ServerID]uint64)
		}
		l.acked[peer] = max(l.acked[peer], number)
	}
	if l.news != nil {
		close(l.news)
		l.news = nil
	}
}

// Acked reports whether the peer has acknowledged, in that term, a request that
// was numbered above after.
func (l *Ledger) Acked(peer raft.ServerID, term, after uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.term == term && l.acked[peer] > after
}

// Overruled reports whether a peer answered a request numbered above after from
// a term above that one.
func (l *Ledger) Overruled(term, after uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over > after && l.beyond > term
}

// News returns a channel that is closed at the next answer. Taken before a look
// at the ledger, it misses none.
func (l *Ledger) News() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.news == nil {
		l.news = make(chan struct{})
	}
	return l.news
}
