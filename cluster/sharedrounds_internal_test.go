package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
)

// counted counts who waits with it.
type counted struct {
	context.Context
	waiting *atomic.Int64
}

func (c counted) Done() <-chan struct{} {
	c.waiting.Add(1)
	return c.Context.Done()
}

// However many wait, on a follower and at the leader, those who came during a round
// share the next ones, and none has the index of the one that ran.
func TestBarriersOfManyShareRounds(t *testing.T) {
	t.Parallel()
	const callers = 500 // on each node
	o := newOpened(t)
	leader, follower := o.node("node-1", nil), o.node("node-2", nil)
	g := gated(t, leader)
	o.bootstrap(leader)
	o.add(leader, "node-2", follower.advertise)
	if _, err := follower.Barrier(o.ctx); err != nil { // it knows who leads
		t.Fatal(err)
	}

	g.close()
	var waiting atomic.Int64
	ctx := counted{o.ctx, &waiting}
	var wg sync.WaitGroup
	barrier := func(n *Node, atLeast uint64) {
		index, err := n.Barrier(ctx)
		if err != nil || index < atLeast {
			t.Errorf("a barrier on %s: %d, want at least %d (%v)", n.cfg.NodeID, index, atLeast, err)
		}
	}
	wg.Go(func() { barrier(leader, 0) })
	<-g.found
	written := o.propose(leader)
	for range callers {
		wg.Go(func() { barrier(leader, written) })
		wg.Go(func() { barrier(follower, written) })
	}
	o.eventually("all to wait", func() bool { return waiting.Load() > 2*callers })
	began := g.runs.Load()
	g.open()
	wg.Wait()
	// The leader's callers share one, the follower's first one and the others of it
	// another two; the rest is for leases that are renewed meanwhile.
	if rounds := g.runs.Load() - began; rounds < 1 || rounds > 10 {
		t.Errorf("%d barriers took %d rounds", 2*callers, rounds)
	}
}
