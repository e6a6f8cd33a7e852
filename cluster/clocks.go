package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxSkew is how far a leader's clock may be from the median of the members'
// before it proposes no timed work and hands leadership on.
const maxSkew = 5 * time.Second

// clocks are what members said of their clocks to this leader, with their
// renewals: what each showed when the word came. What they show now follows by
// [Config.Clock], which nobody sets, so that a jump of this leader's own wall
// clock is seen at once and not with the next word.
type clocks struct {
	mu    sync.Mutex
	said  map[string]said
	heard chan struct{} // closed with the next word; nil: nobody waits

	// believed is the newest time that most members have vouched for, without what
	// our clock showed.
	believed said
}

type said struct {
	clock time.Time
	when  moment

	// before is a moment before it was said, and ours what this leader's clock
	// showed then.
	before moment
	ours   time.Time
}

// at is what the clock shows later, or showed before.
func (s said) at(now moment) time.Time { return s.clock.Add(now - s.when) }

// jumped is how far our clock has jumped since before this was said.
func (s said) jumped(ours time.Time, now moment) time.Duration {
	return ours.Sub(s.ours) - (now - s.before)
}

// hear takes a node's word as it comes, and what our clock showed at a moment
// before it was said: it may have been on its way for long.
func (c *clocks) hear(node string, theirs time.Time, now moment, ours time.Time, before moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said == nil {
		c.said = make(map[string]said)
	}
	c.said[node] = said{clock: theirs, when: now, before: before, ours: ours}
	if c.heard != nil {
		close(c.heard)
		c.heard = nil
	}
}

// next is closed when the next word comes.
func (c *clocks) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = make(chan struct{})
	}
	return c.heard
}

// median returns how far the lower median of the clocks of these nodes, as far
// as they have spoken since, is ahead of what self's shows now. ok: most have.
// What may have been said before our clock jumped does not count: a node that is
// wrong and is set right, and then this one, would be most of three.
func (c *clocks) median(self string, ours time.Time, nodes []string, since, now moment) (ahead time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var known []time.Duration
	for _, node := range nodes {
		if s, spoke := c.said[node]; node == self {
			known = append(known, 0)
		} else if spoke && s.when >= since && s.jumped(ours, now).Abs() <= maxSkew {
			known = append(known, s.at(now).Sub(ours))
		}
	}
	if len(known) == 0 {
		return 0, false
	}
	slices.Sort(known)
	return known[(len(known)-1)/2], 2*len(known) > len(nodes)
}

// believe returns the time to stamp commands with: the earlier of our clock and
// the median, if most have spoken. Else nobody vouches for our clock, and no
// more has passed than has by [Config.Clock] since somebody did; zero where
// nobody ever has.
func (c *clocks) believe(ours time.Time, ahead time.Duration, ok bool, now moment) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ok:
		c.believed = said{clock: ours.Add(min(ahead, 0)), when: now}
		return c.believed.clock
	case c.believed.clock.IsZero():
		return time.Time{}
	case c.believed.at(now).Before(ours):
		return c.believed.at(now)
	}
	return ours
}

// hearClock takes what a member says of its clock, with what its last answer from
// this leader showed of ours. In a member's first word of a term there is nothing
// yet, so that it could be of any age: it does not count, and the next one comes at
// once. A member of the first versions has nothing at all; it is believed to have
// spoken just now.
func (n *Node) hearClock(member string, theirs time.Time, back []byte) {
	ours, now := n.cfg.Now(), n.cfg.Clock()
	before := now
	var shown leaseClocks
	if len(back) >= binary.Size(shown) && decode(back, &shown) == nil {
		if shown.Wall == 0 {
			return
		}
		ours, before = time.UnixMilli(shown.Wall), moment(shown.Moment)
	}
	n.clocks.hear(member, theirs, now, ours, before)
}

// skew returns how far the median of the voters' clocks is ahead of this
// leader's; ok: most have said lately what theirs shows. It is with voters
// alone, since a leader hears from most of them whatever has become of others.
func (n *Node) skew() (ahead time.Duration, ok bool) { return n.skewOf(n.cfg.Now(), n.cfg.Clock()) }

// skewOf is skew, for what this leader's clocks showed.
func (n *Node) skewOf(ours time.Time, now moment) (ahead time.Duration, ok bool) {
	var nodes []string
	if committed := n.committed.Load(); committed != nil {
		for _, server := range *committed {
			if server.Suffrage == raft.Voter {
				nodes = append(nodes, string(server.ID))
			}
		}
	}
	return n.clocks.median(n.cfg.NodeID, ours, nodes, now-n.cfg.Timing.Lease, now)
}

// Now is the time that this node, as leader, stamps commands with: the smaller
// of its clock and the lower median of the voters' clocks. It is zero as long as
// that cannot be known: replicated time stands still then, since it can never be
// taken back.
func (n *Node) Now() time.Time {
	ours, now := n.cfg.Now(), n.cfg.Clock()
	ahead, ok := n.skewOf(ours, now)
	return n.clocks.believe(ours, ahead, ok, now)
}

// LeaderTime is about what the leader stamps commands with now, by what it has
// said with this node's lease: no more, but for what the clocks of two leaders
// differ by, 10 s at most (each yields when it is 5 s off most members'). Unlike
// the clock of this node it is not wrong where that is. Zero as long as no leader
// has said.
func (n *Node) LeaderTime() time.Time {
	if told := n.told.Load(); told != nil {
		return told.at(n.cfg.Clock())
	}
	return time.Time{}
}

// vouchedTime is what most voters' clocks show, where this leader's own is wrong;
// else zero. To hand leadership on takes a new connection, on which every peer
// would seem to have expired.
func (n *Node) vouchedTime() time.Time {
	ours, now := n.cfg.Now(), n.cfg.Clock()
	if ahead, ok := n.skewOf(ours, now); ok && ahead.Abs() > maxSkew {
		return ours.Add(ahead)
	}
	return time.Time{}
}

// awaitNow is [Node.Now]; while that is zero it waits, as long as a lease at most,
// until this new leader has heard what the clocks of most voters show.
func (n *Node) awaitNow(ctx context.Context) time.Time {
	if now := n.Now(); !now.IsZero() {
		return now
	}
	timer := time.NewTimer(n.cfg.Timing.Lease)
	defer timer.Stop()
	for {
		heard := n.clocks.next()
		if now := n.Now(); !now.IsZero() {
			return now
		}
		select {
		case <-heard:
			continue
		case <-timer.C:
		case <-ctx.Done(): // the proposal finds out
		case <-n.open.Done():
		}
		return n.Now()
	}
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
	ctx, cancel := context.WithTimeout(n.ctx, changePatience)
	defer cancel()
	if err := n.TransferLeadership(ctx); err != nil {
		n.log.Warn("handing leadership on", "err", err)
	}
	return time.Now()
}
