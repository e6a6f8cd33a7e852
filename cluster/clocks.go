package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxSkew is how far a leader's clock may be from the median of the members'
// before it proposes no timed work and hands leadership on.
const maxSkew = 5 * time.Second

// clocks are what members said of their clocks to this leader, with their
// renewals: how far each was ahead of the leader's when the word came.
type clocks struct {
	mu    sync.Mutex
	ahead map[string]said
}

type said struct {
	ahead time.Duration
	when  moment
}

func (c *clocks) hear(node string, theirs, ours time.Time, now moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead == nil {
		c.ahead = make(map[string]said)
	}
	c.ahead[node] = said{theirs.Sub(ours), now}
}

// median returns the lower median of the clocks of these nodes, as far as they
// have spoken since; self counts as zero. ok: most have.
func (c *clocks) median(self string, nodes []string, since moment) (ahead time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var known []time.Duration
	for _, node := range nodes {
		if s, spoke := c.ahead[node]; node == self {
			known = append(known, 0)
		} else if spoke && s.when >= since {
			known = append(known, s.ahead)
		}
	}
	if len(known) == 0 {
		return 0, false
	}
	slices.Sort(known)
	return known[(len(known)-1)/2], 2*len(known) > len(nodes)
}

// skew returns how far the median of the members' clocks is ahead of this
// leader's; ok: most members have said lately what theirs shows.
func (n *Node) skew() (ahead time.Duration, ok bool) {
	var nodes []string
	if committed := n.committed.Load(); committed != nil {
		for _, server := range *committed {
			nodes = append(nodes, string(server.ID))
		}
	}
	return n.clocks.median(n.cfg.NodeID, nodes, n.cfg.Clock()-n.cfg.Timing.Lease)
}

// Now is the time that this node, as leader, stamps commands with: the smaller
// of its clock and the lower median of the members' clocks.
func (n *Node) Now() time.Time {
	now := n.cfg.Now()
	if ahead, ok := n.skew(); ok && ahead < 0 {
		return now.Add(ahead)
	}
	return now
}

// TimedWork tells whether this node may propose what is due by the clock, and
// else why it may not: it must lead, most members must have said what their
// clocks show, and its own must be near their median.
func (n *Node) TimedWork() (allowed bool, why string) {
	if !n.IsLeader() {
		return false, "this node does not lead"
	}
	ahead, ok := n.skew()
	switch {
	case !ok:
		return false, "it is not known yet what the clocks of most members show"
	case ahead.Abs() > maxSkew:
		return false, fmt.Sprintf("this node's clock is %s from the median of the members' clocks: set it right", ahead.Abs().Round(time.Millisecond))
	}
	return true, ""
}

// Skew returns how far this leader's clock is from the median of the members',
// zero on other nodes.
func (n *Node) Skew() time.Duration {
	if ahead, ok := n.skew(); ok && n.IsLeader() {
		return -ahead
	}
	return 0
}

// yieldToClocks hands leadership on when this leader's clock is wrong.
func (n *Node) yieldToClocks(last time.Time) time.Time {
	ahead, ok := n.skew()
	if !ok || ahead.Abs() <= maxSkew || time.Since(last) < 10*time.Second {
		return last
	}
	n.log.Error("this node's clock is far from the median of the members' clocks: it does no timed work and hands leadership on; set it right", "ahead_of_median", -ahead)
	ctx, cancel := context.WithTimeout(n.ctx, takeOver)
	defer cancel()
	if err := n.TransferLeadership(ctx); err != nil {
		n.log.Warn("handing leadership on", "err", err)
	}
	return time.Now()
}
