package client

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// cooldown is how long a node that could not serve is passed over at first
	// while another one is left to ask; with each further failure in a row it
	// doubles, up to maxCooldown.
	cooldown    = time.Second
	maxCooldown = 16 * time.Second
	// maxPatience bounds for how long a node is left alone because it asks for
	// that, so that a header gone wrong does not cost the node.
	maxPatience = time.Minute
	// lookUp is how often a call that waits for a node looks for another one that
	// serves by now.
	lookUp = 250 * time.Millisecond
)

// node is one endpoint and what is known of its health.
type node struct {
	url  string // https://host:port
	host string
	// address is where it is dialled, host:port, when that is not what its URL
	// names: one of the addresses of a name. Empty: the URL's own.
	address string

	http *http.Client

	// pending is how many calls are under way.
	pending atomic.Int64
	// down is until when (Unix nanoseconds) nobody looks at the node; from then
	// on it is asked whether it is ready. 0: it serves.
	down     atomic.Int64
	failures atomic.Int32 // of calls, in a row
	// alone is until when (Unix nanoseconds) the node has asked not to be asked
	// again, whether there is another one or not.
	alone   atomic.Int64
	probing atomic.Bool
	tokens  atomic.Int32 // whether it heeds idempotency tokens
	// retired: it is none of the client's nodes any more, so that calls still
	// under way leave no connection behind.
	retired atomic.Bool
}

// fail has the node passed over: it could not serve a call. Nobody asks it at
// all as long as it asks for patience.
func (n *node) fail(now time.Time, patience time.Duration) {
	doublings := min(n.failures.Add(1)-1, 8)
	n.down.Store(now.Add(max(patience, min(cooldown<<doublings, maxCooldown))).UnixNano())
	n.tokens.Store(tokensUnasked)
	if patience > 0 {
		n.alone.Store(now.Add(patience).UnixNano())
	}
}

// patience is for how long from now on the node is not to be asked.
func (n *node) patience(now time.Time) time.Duration {
	return time.Duration(max(0, n.alone.Load()-now.UnixNano()))
}

// succeed ends that: it has served a call.
func (n *node) succeed() {
	if n.down.Load() != 0 || n.failures.Load() != 0 {
		n.failures.Store(0)
		n.down.Store(0)
	}
}

// due tells whether a node that is down is to be asked whether it is ready.
func (n *node) due(now time.Time) bool {
	down := n.down.Load()
	return down != 0 && now.UnixNano() >= down
}

// turn hands the nodes out one after the other.
type turn struct{ next atomic.Uint64 }

// pick returns the node with the fewest calls under way of those that serve,
// or, if none does, of those that have not asked for patience; of equals the next
// in turn. If all have, it is the one that is to be asked again first. except is not picked
// unless it is the only one; nil: every node may be. nil is returned when there
// are no nodes.
func (c *Client) pick(nodes []*node, now time.Time, except *node) *node {
	if len(nodes) == 0 {
		return nil
	}
	start := c.turn.next.Load()
	if except == nil { // a second node for the same call takes nobody's turn
		start = c.turn.next.Add(1) - 1
	}
	var best, anyway *node
	for i := range uint64(len(nodes)) {
		n := nodes[(start+i)%uint64(len(nodes))]
		if n.due(now) && n.probing.CompareAndSwap(false, true) {
			c.background(func() { c.probe(n) })
		}
		if n == except {
			continue
		}
		if anyway == nil || n.sooner(anyway, now) {
			anyway = n
		}
		if n.down.Load() == 0 && (best == nil || n.pending.Load() < best.pending.Load()) {
			best = n
		}
	}
	switch {
	case best != nil:
		return best
	case anyway != nil:
		return anyway
	}
	return except
}

// sooner tells whether, of two nodes that do not serve, this one is asked.
func (n *node) sooner(other *node, now time.Time) bool {
	if a, b := n.patience(now), other.patience(now); a != b {
		return a < b
	}
	return n.pending.Load() < other.pending.Load()
}

// probe asks a node that was passed over whether it is ready, so that it is no
// caller's request that finds out.
func (c *Client) probe(n *node) {
	defer n.probing.Store(false)
	if _, err := c.ask(c.life, n, "/readyz"); err != nil {
		n.down.Store(time.Now().Add(cooldown).UnixNano())
		return
	}
	n.down.Store(0) // its failures are forgotten when it has served a call
}

// The waits between tries grow from minWait to maxWait; each is drawn between
// half and all of it, so that callers do not return in step.
const (
	minWait = 20 * time.Millisecond
	maxWait = time.Second
)

// backoff is the wait before try number n (1: the first repetition).
func backoff(n int) time.Duration {
	wait := maxWait
	if n < 7 {
		wait = min(maxWait, minWait<<(n-1))
	}
	return wait/2 + rand.N(wait/2)
}
