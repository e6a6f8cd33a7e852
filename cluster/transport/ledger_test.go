package transport_test

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/transport"
)

// TestLedger: only an answer in the term, to what was numbered after the note,
// counts; in whatever order answers come and however often.
func TestLedger(t *testing.T) {
	l := new(transport.Ledger)
	f := func(want bool, peer raft.ServerID, term, after uint64) {
		t.Helper()
		if got := l.Acked(peer, term, after); got != want {
			t.Errorf("%s after %d in term %d: %v, want %v", peer, after, term, got, want)
		}
	}
	f(false, "b", 3, 0)
	var numbers []uint64
	for range 5 {
		numbers = append(numbers, l.Number())
	}
	note := l.Sent()
	if note != 5 || numbers[0] != 1 || numbers[4] != 5 {
		t.Fatalf("numbers %v, last %d", numbers, note)
	}
	late := l.Number()

	for _, old := range []uint64{5, 3, 4, 5, 1, 5} { // delayed, out of order, repeated
		l.Answered("b", old, 3, 3)
	}
	f(true, "b", 3, 4)
	f(false, "b", 3, note)
	l.Answered("b", late, 2, 2)
	f(false, "b", 3, note) // a request of an older term
	l.Answered("b", late, 3, 4)
	f(false, "b", 3, note) // it has gone on to another term
	l.Answered("c", late, 3, 3)
	f(false, "b", 3, note) // somebody else
	f(true, "c", 3, note)
	l.Answered("b", late, 3, 3)
	l.Answered("b", numbers[1], 3, 3) // an old answer takes nothing back
	f(true, "b", 3, note)
	f(false, "b", 4, note)
	f(false, "b", 2, note)

	l.Answered("d", l.Number(), 5, 5)
	f(false, "b", 3, note) // term 3 is over
	f(false, "b", 5, 0)
	f(true, "d", 5, late)
	l.Answered("b", late, 3, 3)
	f(false, "b", 5, 0)
	f(false, "b", 3, 0)
}

// TestOverruled: a refusal from a higher term ends what was begun before it, and
// nothing that begins later.
func TestOverruled(t *testing.T) {
	l := new(transport.Ledger)
	f := func(want bool, term, after uint64) {
		t.Helper()
		if got := l.Overruled(term, after); got != want {
			t.Errorf("term %d after %d: %v, want %v", term, after, got, want)
		}
	}
	l.Answered("b", l.Number(), 3, 3)
	f(false, 3, 0)
	l.Answered("b", l.Number(), 3, 5)
	f(true, 3, 0)
	f(true, 3, 1)
	f(false, 3, 2)
	f(false, 5, 0)
	l.Answered("b", 1, 3, 9)
	f(false, 3, 2)
}

// TestLedgerNews: whoever takes the channel before looking misses no answer.
func TestLedgerNews(t *testing.T) {
	l := new(transport.Ledger)
	news := l.News()
	select {
	case <-news:
		t.Fatal("news of nothing")
	default:
	}
	l.Answered("b", l.Number(), 1, 1)
	<-news
	if l.News() == news {
		t.Fatal("the same news twice")
	}
}
