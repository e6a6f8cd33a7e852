package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Released waits until index is released: from then on nobody answers from a
// state before it. An error says that this is not known yet.
//
// Who waits on the leader has it ask the holders in the way how far they are;
// who waits elsewhere asks the leader. What is released is told to all.
func (n *Node) Released(ctx context.Context, index uint64) error {
	if index <= n.released.load() {
		return nil
	}
	started := time.Now()
	n.outstanding.Add(1)
	err := n.awaitReleased(ctx, index)
	n.outstanding.Add(-1)
	if err != nil {
		return fmt.Errorf("waiting until entry %d is released: %w", index, err)
	}
	if n.cfg.Fenced != nil {
		n.cfg.Fenced(time.Since(started))
	}
	return nil
}

func (n *Node) awaitReleased(ctx context.Context, index uint64) error {
	return n.released.waitFor(ctx, n.ended, index, func() {
		if !n.seeking.CompareAndSwap(false, true) {
			return
		}
		done, ok := n.begin()
		if !ok {
			n.seeking.Store(false)
			return
		}
		go func() {
			defer done()
			n.seek()
		}()
	})
}

// seek has released go up for as long as somebody waits for that. One of it
// runs at a time.
func (n *Node) seek() {
	for {
		changed := n.view.changed()
		want := n.released.wanted()
		if want == 0 || n.open.Err() != nil {
			n.seeking.Store(false)
			// Whoever came in between has seen that we were running.
			if n.released.wanted() == 0 || n.open.Err() != nil || !n.seeking.CompareAndSwap(false, true) {
				return
			}
			continue
		}
		again := retryAfter
		var news <-chan struct{}
		if l := n.lender.Load(); l != nil && n.leadsIn(l.term) && n.readyTerm.Load() == l.term {
			news = l.news.changed()
			released, next := n.release(l)
			if released >= want {
				n.tell(l)
				continue
			}
			n.chase(l, want)
			if next != 0 {
				again = max(next-n.cfg.Clock(), time.Millisecond)
			}
		} else if n.askReleased(want) == nil {
			continue
		}
		timer := time.NewTimer(min(again, n.cfg.Timing.Heartbeat))
		select {
		case <-news:
		case <-changed:
		case <-timer.C:
		case <-n.open.Done():
		}
		timer.Stop()
	}
}

// release computes what is released on the leader, for all to see.
func (n *Node) release(l *lender) (released uint64, next moment) {
	applied := n.applied.load()
	l.mu.Lock()
	l.hear(report{holder: holder{n.cfg.NodeID, n.incarnation}, applied: applied, released: n.released.load()})
	released, next = l.lessor.release(n.cfg.Clock(), applied)
	l.mu.Unlock()
	n.released.advance(released)
	return released, next
}

// askReleased asks the leader, who waits until so much is released.
func (n *Node) askReleased(want uint64) error {
	e := n.epoch.Load()
	if e.leader == "" || e.leader == n.cfg.NodeID {
		return ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(n.open, n.cfg.Timing.Lease)
	defer cancel()
	answer, err := n.callIn(ctx, e.over, e.leader, methodReleased, binary.BigEndian.AppendUint64(nil, want))
	if err != nil {
		return err
	}
	if len(answer) < 8 {
		return fmt.Errorf("node %s answered in an unknown form", e.leader)
	}
	n.released.advance(binary.BigEndian.Uint64(answer))
	return nil
}

// serveReleased answers methodReleased on the leader.
func (n *Node) serveReleased(ctx context.Context, _ string, body []byte) ([]byte, error) {
	var want uint64
	if err := decode(body, &want); err != nil {
		return nil, err
	}
	if err := n.waitReady(ctx); err != nil {
		return nil, err
	}
	if last := n.raft.LastIndex(); want > last {
		return nil, &RemoteError{Code: "invalid", Message: fmt.Sprintf("the log ends at %d, and %d cannot be released yet", last, want)}
	}
	err := n.awaitReleased(ctx, want)
	return binary.BigEndian.AppendUint64(nil, n.released.load()), err
}

// fenceAsk tells a member what is released, and asks it to say when it has
// applied an index; fenceAnswer is what it says. Big-endian; later versions may
// append to them.
type (
	fenceAsk    struct{ Term, Index, Released uint64 }
	fenceAnswer struct{ Term, Incarnation, Applied uint64 }
)

// serveFence answers methodFence.
func (n *Node) serveFence(ctx context.Context, peer string, body []byte) ([]byte, error) {
	var ask fenceAsk
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	if leader, _ := n.Leader(); leader != peer {
		return nil, &NotLeaderError{Leader: leader} // a report counts in the term of this node's leader only
	}
	n.released.advance(ask.Released)
	if err := n.applied.wait(ctx, n.ended, ask.Index); err != nil {
		return nil, err
	}
	term := n.raft.CurrentTerm() // before what is reported, see lease.go
	return encode(fenceAnswer{Term: term, Incarnation: n.incarnation, Applied: n.applied.load()}), nil
}

// pushes are the members to which this leader has something to say. Each has at
// most one call under way; the newest index wins.
type pushes struct {
	mu sync.Mutex
	to map[string]*push
}

type push struct {
	term    uint64
	want    uint64 // it is to say when it has applied this ...
	reached uint64 // ... and has said so of this
	told    uint64 // it knows that this is released
	running bool
}

// chase asks those for a report who keep want from being released.
func (n *Node) chase(l *lender, want uint64) {
	l.mu.Lock()
	nodes := l.behind(n.cfg.Clock(), want)
	l.mu.Unlock()
	for _, node := range nodes {
		n.push(l, node, want)
	}
}

// tell says to all members what is released.
func (n *Node) tell(l *lender) {
	if committed := n.committed.Load(); committed != nil {
		for _, server := range *committed {
			n.push(l, string(server.ID), 0)
		}
	}
}

func (n *Node) push(l *lender, node string, want uint64) {
	if node == n.cfg.NodeID {
		return
	}
	n.pushes.mu.Lock()
	defer n.pushes.mu.Unlock()
	p := n.pushes.to[node]
	if p == nil || p.term != l.term {
		p = &push{term: l.term}
		if n.pushes.to == nil {
			n.pushes.to = make(map[string]*push)
		}
		n.pushes.to[node] = p
	}
	p.want = max(p.want, want)
	if p.running || !n.due(p) {
		return
	}
	if done, ok := n.begin(); ok {
		p.running = true
		go func() {
			defer done()
			n.carry(l, node, p)
		}()
	}
}

// due reports whether there is something to say. The caller holds the lock.
func (n *Node) due(p *push) bool { return p.want > p.reached || n.released.load() > p.told }

// carry says it until nothing is left, or the node does not answer: then the
// next change, its renewal or the end of its lease comes first.
func (n *Node) carry(l *lender, node string, p *push) {
	for {
		n.pushes.mu.Lock()
		if !n.due(p) || !n.leadsIn(l.term) {
			p.running = false
			n.pushes.mu.Unlock()
			return
		}
		ask := fenceAsk{Term: l.term, Index: p.want, Released: n.released.load()}
		n.pushes.mu.Unlock()

		ctx, cancel := context.WithTimeout(n.open, l.terms.Length)
		body, err := n.callIn(ctx, n.epoch.Load().over, node, methodFence, encode(ask))
		cancel()
		var answer fenceAnswer
		if err == nil {
			err = decode(body, &answer)
		}
		if err == nil && answer.Term == l.term {
			l.mu.Lock()
			l.hear(report{holder: holder{node, answer.Incarnation}, applied: answer.Applied})
			l.mu.Unlock()
			l.news.signal()
		}
		n.pushes.mu.Lock()
		if err != nil || answer.Term != l.term {
			p.running = false
			p.told = max(p.told, ask.Released) // it will hear more with its next lease
			n.pushes.mu.Unlock()
			return
		}
		p.reached, p.told = max(p.reached, answer.Applied), max(p.told, ask.Released)
		n.pushes.mu.Unlock()
	}
}

// whoever has left raft's configuration is no holder, and none of ours to tell.
func (n *Node) forgetPushes(servers []raft.Server) {
	n.pushes.mu.Lock()
	defer n.pushes.mu.Unlock()
	for node := range n.pushes.to {
		left := true
		for _, server := range servers {
			left = left && server.ID != raft.ServerID(node)
		}
		if left {
			delete(n.pushes.to, node)
		}
	}
}
