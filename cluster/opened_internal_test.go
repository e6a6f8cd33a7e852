package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
)

// enough is far longer than anything here takes, even on a busy machine.
const enough = 30 * time.Second

// opened are nodes of one cluster, whose parts a test may change before the first
// one leads. clustertest has clusters that run already.
type opened struct {
	t        *testing.T
	ca, key  []byte
	ctx      context.Context // ends with patience
	machines map[*Node]*slowTape
}

// slowTape applies nothing while stall is held.
type slowTape struct {
	tape
	stall sync.Mutex
}

func (m *slowTape) Apply(entries []Entry) ([]Reply, error) {
	m.stall.Lock()
	defer m.stall.Unlock()
	return m.tape.Apply(entries)
}

func newOpened(t *testing.T) *opened {
	t.Helper()
	o := &opened{t: t, machines: make(map[*Node]*slowTape)}
	var err error
	if o.ca, o.key, err = pki.NewCA("opened", time.Now(), pki.AuthorityLifetime); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	o.ctx, cancel = context.WithTimeout(context.Background(), enough)
	t.Cleanup(cancel)
	t.TempDir() // is removed when the nodes have ended
	return o
}

// node opens one. Its leases are renewed when who leads or who is a member
// changes, and hardly in between.
func (o *opened) node(id string, clock func() time.Duration) *Node {
	o.t.Helper()
	key, err := pki.NewNodeKey()
	if err != nil {
		o.t.Fatal(err)
	}
	csr, err := pki.CSR(key)
	if err != nil {
		o.t.Fatal(err)
	}
	certificate, err := pki.SignNode(o.ca, o.key, csr, id, nil, time.Now(), pki.NodeLifetime)
	if err != nil {
		o.t.Fatal(err)
	}
	identity, err := transport.NewIdentity("opened", id, certificate, key, o.ca)
	if err != nil {
		o.t.Fatal(err)
	}
	machine := new(slowTape)
	n, err := Open(o.ctx, Config{
		NodeID: id, ClusterID: "opened", DataDir: o.t.TempDir(), Identity: identity, ListenAddress: "127.0.0.1:0",
		Gossip:     membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
		Timing:     Timing{Lease: 10 * time.Minute, Renewal: time.Minute},
		Promotable: func(string) bool { return false }, // so that the first node never loses its office
		Clock:      clock,
		Fatal:      func(err error) { o.t.Errorf("%s: %v", id, err) },
		Logger:     discard,
	}, machine)
	if err != nil {
		o.t.Fatal(err)
	}
	o.machines[n] = machine
	o.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), enough)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			o.t.Errorf("closing %s: %v", id, err)
		}
	})
	return n
}

// bootstrap has a node lead, and waits until it serves.
func (o *opened) bootstrap(n *Node) {
	o.t.Helper()
	if err := n.Bootstrap(o.ctx); err != nil {
		o.t.Fatal(err)
	}
	o.eventually("a leader with a lease", func() bool { return n.IsLeader() && n.renewals.Load() > 0 })
}

// add makes a member of a node, and waits until its leader knows.
func (o *opened) add(leader *Node, id, address string) {
	o.t.Helper()
	if err := leader.AddNonvoter(o.ctx, id, address); err != nil {
		o.t.Fatal(err)
	}
	if _, err := leader.Barrier(o.ctx); err != nil {
		o.t.Fatal(err)
	}
}

func (o *opened) propose(n *Node) (index uint64) {
	o.t.Helper()
	committed, err := n.Propose(o.ctx, []byte("command"))
	if err != nil {
		o.t.Fatal(err)
	}
	return committed.Index
}

func (o *opened) eventually(what string, true func() bool) {
	o.t.Helper()
	for ; !true(); time.Sleep(time.Millisecond) {
		if o.ctx.Err() != nil {
			o.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// hands are those of a clock that moves when it is told to.
type hands struct{ at atomic.Int64 }

func newHands() *hands {
	h := new(hands)
	h.at.Store(int64(1000 * time.Second))
	return h
}

func (h *hands) now() time.Duration { return time.Duration(h.at.Load()) }

func (h *hands) advance(by time.Duration) { h.at.Add(int64(by)) }

// gate holds rounds that have found their index, from close on until open.
type gate struct {
	closed atomic.Bool
	found  chan struct{} // a round is held
	pass   chan struct{} // it is let go
	runs   atomic.Int64  // rounds that began
	open   func()
}

func (g *gate) close() { g.closed.Store(true) }

// gated puts a gate into the way of a node's rounds. Nothing may lead yet.
func gated(t *testing.T, n *Node) *gate {
	g := &gate{found: make(chan struct{}), pass: make(chan struct{})}
	opened := make(chan struct{})
	g.open = sync.OnceFunc(func() {
		g.closed.Store(false)
		close(opened)
	})
	t.Cleanup(g.open) // before the node is closed
	run := n.points.run
	n.points.run = func() (uint64, error) {
		g.runs.Add(1)
		index, err := run()
		if !g.closed.Load() {
			return index, err
		}
		select {
		case g.found <- struct{}{}:
		case <-opened:
			return index, err
		}
		select {
		case <-g.pass:
		case <-opened:
		}
		return index, err
	}
	return g
}
