package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// All reads are on this page.
//
// A read is linearizable when it sees every command that was acknowledged
// anywhere before the read began. A node gets there in three steps:
//
//  1. it asks the leader for a read point;
//  2. the leader puts a mark (an entry without data) into the log; once that is
//     committed, in whatever term and by whatever rumour of leadership, its
//     index is at or behind that of every command acknowledged before;
//  3. the node waits until it has applied that index, and reads its own state.
//
// No clock and no belief about who leads is involved: a deposed leader cannot
// commit the mark. The price is a write per round, so rounds are shared: one
// serves all who were waiting when it began. Who comes during a round waits for
// the next, because the mark of this one may be older than a command that was
// acknowledged before the call. Rounds are shared twice, among the callers on a
// node and among the nodes at the leader.

// attemptTimeout bounds one question to a leader that does not answer.
const attemptTimeout = 5 * time.Second

// Barrier returns an index that this node has applied, such that its state from
// then on contains every command that was acknowledged before the call. An
// error wraps [ErrNoLeader], [ErrStopped] or another kind of [ErrNotDone]: there
// is no such index, nothing else has happened.
func (n *Node) Barrier(ctx context.Context) (index uint64, err error) {
	index, err = n.asks.join(ctx)
	if err == nil {
		err = n.applied.wait(ctx, n.ended, index)
	}
	if err == nil {
		return index, nil
	}
	if !errors.Is(err, ErrNotDone) {
		kind := ErrNotDone
		if _, known := n.Leader(); !known {
			kind = ErrNoLeader
		}
		err = fmt.Errorf("%w: %w", kind, err)
	}
	return 0, fmt.Errorf("waiting for a read point: %w", err)
}

// readPoint is one round of this node: the leader's answer, whoever that is and
// however often it has to be asked. A mark may be made twice, so that every
// failure is worth a retry.
func (n *Node) readPoint() (index uint64, err error) {
	always := func(error) bool { return true }
	err = n.atLeader(n.open, always, func(e *epoch) error {
		ctx, cancel := context.WithTimeout(n.open, attemptTimeout)
		defer cancel()
		if e.leader == n.cfg.NodeID {
			index, err = n.marks.join(ctx)
			return err
		}
		answer, err := n.callIn(ctx, e.over, e.leader, methodReadPoint, nil)
		if err != nil {
			return err
		}
		if len(answer) != 8 {
			return fmt.Errorf("node %s answered in an unknown form", e.leader)
		}
		index = binary.BigEndian.Uint64(answer)
		return nil
	})
	return index, err
}

// mark is one round of the leader: a mark in the log.
func (n *Node) mark() (index uint64, err error) {
	committed, err := n.replicate(n.ctx, nil)
	return committed.Index, err
}

// serveReadPoint answers methodReadPoint on the leader.
func (n *Node) serveReadPoint(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	if _, ok := n.leads(); !ok {
		return nil, n.notLeader()
	}
	index, err := n.marks.join(ctx)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, index), nil
}

// rounds lets many callers share the runs of something that yields an index.
type rounds struct {
	run   func() (uint64, error)
	begin func() (done func(), ok bool)

	mu      sync.Mutex
	running bool
	next    *round // those who wait for the round after the one that runs
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// join waits for a round that begins after the call.
func (r *rounds) join(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	if !r.running {
		done, ok := r.begin()
		if !ok {
			r.mu.Unlock()
			return 0, ErrStopped
		}
		r.running = true
		go func() {
			defer done()
			r.loop()
		}()
	}
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// loop runs rounds until nobody waits.
func (r *rounds) loop() {
	for {
		r.mu.Lock()
		this := r.next
		r.next = nil
		if this == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		this.index, this.err = r.run()
		close(this.done)
	}
}
