package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// askLease is what a node with that incarnation asks of the leader that n is.
func (o *opened) askLease(n *Node, peer string, incarnation, applied uint64) (answer leaseAnswer, err error) {
	body, err := n.serveLease(o.ctx, peer, encode(leaseAsk{
		Term: n.lender.Load().term, Incarnation: incarnation, Applied: applied, Clock: time.Now().UnixMilli(),
	}))
	if err == nil {
		err = decode(body, &answer)
	}
	return answer, err
}

// The holder of a lease is on record before the round begins that finds the lease's
// index: what is committed between that and the answer is not released to anybody
// while the lease may be served under, unless that very holder says that it has
// applied it. (lease.go, flaw indexBefore)
func TestTheHolderIsOnRecordBeforeItsIndexIsFound(t *testing.T) {
	t.Parallel()
	o, clock := newOpened(t), newHands()
	n := o.node("node-1", clock.now)
	g := gated(t, n)
	o.bootstrap(n)
	o.add(n, "node-2", "127.0.0.1:9")
	l := n.lender.Load()
	released := func() uint64 { index, _ := n.release(l); return index }

	type granted struct {
		leaseAnswer
		err error
	}
	answered := make(chan granted, 1)
	g.close()
	go func() {
		answer, err := o.askLease(n, "node-2", 7, 0)
		answered <- granted{answer, err}
	}()
	var lease granted
	var last, highest uint64
	for over := false; !over; {
		select {
		case <-g.found: // that of the lease, or of this node's own
			last = o.propose(n)
			highest = max(highest, released())
			g.pass <- struct{}{}
		case lease = <-answered:
			over = true
		case <-o.ctx.Done():
			t.Fatal("no answer")
		}
	}
	g.open()
	if lease.err != nil {
		t.Fatal(lease.err)
	}
	if lease.Index >= last {
		t.Fatalf("the lease counts from %d, and the last command is at %d: this test tests nothing", lease.Index, last)
	}
	if highest > lease.Index {
		t.Errorf("%d was released while a lease that counts from %d was on its way", highest, lease.Index)
	}
	if now := released(); now > lease.Index {
		t.Errorf("%d is released, and a lease counts from %d", now, lease.Index)
	}
	if _, err := o.askLease(n, "node-2", 8, last); err != nil {
		t.Fatal(err)
	}
	if now := released(); now > lease.Index {
		t.Errorf("%d is released, as another process than the holder has applied it; the lease counts from %d", now, lease.Index)
	}
	clock.advance(time.Duration(lease.Length) - 1)
	if now := released(); now > lease.Index {
		t.Errorf("%d is released, and the lease that counts from %d has not run out", now, lease.Index)
	}
	clock.advance(1)
	if now := released(); now < last {
		t.Errorf("%d is released, and the lease in the way of %d has run out", now, last)
	}
}

// A lease runs from before it was asked for, however long the answer was on its
// way, and so does the age of what is answered under it.
func TestALeaseRunsFromBeforeItWasAskedFor(t *testing.T) {
	t.Parallel()
	const way = time.Minute
	o, clock := newOpened(t), newHands()
	n := o.node("node-1", clock.now)
	if age, known := n.Age(); known {
		t.Errorf("a node that never had a leader has a state that is %s old", age)
	}
	var mu sync.Mutex
	var asked []int64
	n.Handle(methodLease, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
		mu.Lock()
		asked = append(asked, int64(clock.now()))
		mu.Unlock()
		answer, err := n.serveLease(ctx, peer, body)
		clock.advance(way)
		return answer, err
	})
	o.bootstrap(n)
	terms, _ := n.cfg.leaseTerms()
	if left, most := n.Lease().Left, terms.Length-terms.Margin-way; left > most || left <= 0 {
		t.Errorf("the lease lasts another %s, want %s", left, most)
	}
	if age, known := n.Age(); !known || age < way {
		t.Errorf("the state is %s old (%t), want %s", age, known, way)
	}
	n.held.Lock() // so that both are of one lease
	since, until := n.since.Load(), n.until.Load()
	n.held.Unlock()
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(asked, since) || until != since+int64(terms.Length-terms.Margin) {
		t.Errorf("the lease runs from %s to %s, and leases were asked for at %v", moment(since), moment(until), asked)
	}
}

// Leases are for members of the configuration that is committed and applied here:
// Raft's newest one may be neither, and its majority another one.
func TestLeasesAreForCommittedMembers(t *testing.T) {
	t.Parallel()
	o := newOpened(t)
	n := o.node("node-1", nil)
	o.bootstrap(n)
	f := func(what, node string, want bool) {
		t.Helper()
		_, err := o.askLease(n, node, 7, 0)
		refused := new(RemoteError)
		switch {
		case want && err != nil:
			t.Errorf("%s: %v", what, err)
		case !want && (!errors.As(err, &refused) || refused.Code != "not_member"):
			t.Errorf("%s is answered %v", what, err)
		}
	}
	f("a stranger", "node-2", false)

	stall := &o.machines[n].stall
	stall.Lock()
	resume := sync.OnceFunc(stall.Unlock)
	t.Cleanup(resume)
	added := make(chan error, 1)
	go func() { added <- n.AddNonvoter(o.ctx, "node-2", "127.0.0.1:9") }()
	o.eventually("the change to be in the log", func() bool { return len(n.servers()) == 2 })
	f("one whose membership is not applied", "node-2", false)
	resume()
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	if _, err := n.Barrier(o.ctx); err != nil {
		t.Fatal(err)
	}
	f("a member", "node-2", true)
	f("still a stranger", "node-3", false)

	l := n.lender.Load()
	l.mu.Lock()
	l.bar("node-2", n.cfg.Clock())
	l.mu.Unlock()
	f("one that is about to be removed", "node-2", false)
	l.pardon("node-2")
	f("one that was not removed", "node-2", true)
}
