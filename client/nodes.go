package client

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// cooldown is how long a node that could not serve is passed over while
// another one is left to ask.
const cooldown = time.Second

// node is one endpoint and what is known of its health.
type node struct {
	url  string // https://host:port
	host string

	// down is until when (Unix nanoseconds) the node is passed over.
	down atomic.Int64
}

func (n *node) fail(now time.Time)         { n.down.Store(now.Add(cooldown).UnixNano()) }
func (n *node) succeed()                   { n.down.Store(0) }
func (n *node) healthy(now time.Time) bool { return now.UnixNano() >= n.down.Load() }

// turn hands the nodes out one after the other.
type turn struct{ next atomic.Uint64 }

// pick returns the next node in turn that is healthy and, if there is none,
// the next in turn.
func (c *Client) pick(now time.Time) *node {
	start := c.turn.next.Add(1) - 1
	for i := range uint64(len(c.nodes)) {
		if n := c.nodes[(start+i)%uint64(len(c.nodes))]; n.healthy(now) {
			return n
		}
	}
	return c.nodes[start%uint64(len(c.nodes))]
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
