package cluster

import "time"

// off returns how far the clocks of those nodes that have spoken since are ahead
// of that time.
func (c *clocks) off(believed time.Time, nodes []string, since, now moment) map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := make(map[string]time.Duration)
	for _, node := range nodes {
		if s, spoke := c.said[node]; spoke && s.when >= since {
			ahead[node] = s.at(now).Sub(believed)
		}
	}
	return ahead
}

// ClockOffsets returns how far members' clocks are ahead of the time that this
// leader stamps commands with, as far as they have said lately what they show;
// nil on other nodes, and while that time is not known.
func (n *Node) ClockOffsets() map[string]time.Duration {
	committed := n.committed.Load()
	if committed == nil || !n.IsLeader() {
		return nil
	}
	var nodes []string
	for _, server := range *committed {
		if string(server.ID) != n.cfg.NodeID {
			nodes = append(nodes, string(server.ID))
		}
	}
	ours, now := n.cfg.Now(), n.cfg.Clock()
	ahead, ok := n.skewOf(ours, now)
	believed := n.clocks.believe(ours, ahead, ok, now)
	if believed.IsZero() {
		return nil
	}
	offsets := n.clocks.off(believed, nodes, now-n.cfg.Timing.Lease, now)
	offsets[n.cfg.NodeID] = ours.Sub(believed)
	return offsets
}

// warnOfClocks warns of each member whose clock is wrong, once, and again when it
// is wrong by another amount. warned is what it was warned of; a clock has to be
// clearly right before it is forgotten, or one at the limit would never be quiet.
// Of this leader's own clock it says nothing: see [Node.yieldToClocks].
func (n *Node) warnOfClocks(offsets, warned map[string]time.Duration) {
	for node, ahead := range offsets {
		before, known := warned[node]
		switch {
		case node == n.cfg.NodeID:
		case ahead.Abs() <= maxSkew/2:
			delete(warned, node)
		case ahead.Abs() > maxSkew && (!known || (ahead-before).Abs() > maxSkew):
			warned[node] = ahead
			n.log.Warn("a member's clock is wrong: set it right", "member", node, "ahead", ahead.Round(time.Millisecond))
		}
	}
}
