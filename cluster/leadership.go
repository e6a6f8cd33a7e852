package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/autopilot"
)

// changePatience bounds a change of members, or of the leader, that a leader makes
// by itself: Raft may take for ever.
const changePatience = 20 * time.Second

// levelWithin is how many entries a newcomer may be behind and still be given a
// vote.
const levelWithin = 256

// Leader returns the node that leads, as far as this node knows.
func (n *Node) Leader() (nodeID string, known bool) {
	_, id := n.raft.LeaderWithID()
	return string(id), id != ""
}

// IsLeader reports whether this node leads and has applied everything that was
// committed before it did. It may be deposed without knowing yet: what it may
// do as leader, the log decides.
func (n *Node) IsLeader() bool {
	term, ok := n.leads()
	return ok && n.readyTerm.Load() == term
}

// leads returns the term in which this node leads.
func (n *Node) leads() (term uint64, ok bool) {
	r := n.started.Load()
	if r == nil {
		return 0, false
	}
	// Raft leaves the leader's state before it takes up a newer term, and a
	// term is never taken up again: if it is the same before and after, the
	// state belongs to it.
	term = r.CurrentTerm()
	return term, r.State() == raft.Leader && r.CurrentTerm() == term
}

func (n *Node) leadsIn(term uint64) bool {
	current, ok := n.leads()
	return ok && current == term
}

// epoch is the time during which this node takes the same node for the leader.
// Calls to that leader end with it.
type epoch struct {
	leader string
	// over ends at once with the epoch. What can be asked again ends here.
	over    context.Context
	endOver context.CancelFunc
	// late ends a leader lease later: a deposed leader notices within that time
	// and answers what it was asked, so that fewer outcomes are unknown.
	late    context.Context
	endLate context.CancelFunc
}

func newEpoch(leader string) *epoch {
	e := &epoch{leader: leader}
	e.over, e.endOver = context.WithCancel(context.Background())
	e.late, e.endLate = context.WithCancel(context.Background())
	return e
}

// watch reads what Raft says of leadership, for the node's whole life: raft
// blocks when nobody reads notify. It never calls raft but to look.
func (n *Node) watch(notify <-chan bool, seen <-chan raft.Observation) {
	for {
		// Look before waiting: Raft runs before it can be observed, and a
		// running cluster's leader calls a restarted node at once.
		if leader, _ := n.Leader(); leader != n.epoch.Load().leader {
			old := n.epoch.Swap(newEpoch(leader))
			old.endOver()
			time.AfterFunc(n.cfg.Timing.LeaderLease, old.endLate)
		}
		n.view.signal()
		select {
		case <-notify:
		case <-seen:
		case <-n.ctx.Done():
			e := n.epoch.Load()
			e.endOver()
			e.endLate()
			return
		}
	}
}

// lead does what a leader has to do, while this node is one.
func (n *Node) lead() {
	tick := time.NewTicker(n.cfg.Timing.Autopilot)
	defer tick.Stop()
	var led uint64        // the term in which we lead and are ready; zero for none
	var yielded time.Time // when leadership was handed on for a wrong clock last
	var warned map[string]time.Duration
	for {
		changed := n.view.changed()
		term, leading := n.leads()
		if led != 0 && (!leading || term != led) {
			n.trans.Ended(led)
			led = 0
		}
		if leading && led == 0 {
			if err := n.gain(term); err != nil {
				n.log.Warn("cannot take over as leader", "term", term, "err", err)
			} else {
				led, warned = term, make(map[string]time.Duration)
			}
		}
		if led != 0 {
			yielded = n.yieldToClocks(yielded)
			n.warnOfClocks(n.ClockOffsets(), warned)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// gain makes a new leader ready: everything that was committed before is
// applied here. A leader that cannot do that hands leadership on, for it would
// sit there unable to lead.
func (n *Node) gain(term uint64) error {
	elected := n.cfg.Clock() // or a little later
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.TakeOver)
	defer cancel()
	if _, err := n.replicate(ctx, nil); err != nil {
		if n.leadsIn(term) && ctx.Err() != nil && n.ctx.Err() == nil {
			ctx, cancel := context.WithTimeout(n.ctx, changePatience)
			defer cancel()
			err = errors.Join(err, n.TransferLeadership(ctx))
		}
		return fmt.Errorf("applying what was committed before: %w", err)
	}
	n.lend(term, elected)
	n.readyTerm.Store(term)
	n.view.signal()
	n.log.Info("leading", "term", term)
	return nil
}

// keepMembers sees to who has a vote, while this node leads and is ready. It has
// a loop of its own, since it waits for others: a leader that loses its office
// meanwhile and gets it back has to be ready at once.
func (n *Node) keepMembers() {
	tick := time.NewTicker(n.cfg.Timing.Autopilot)
	defer tick.Stop()
	var led uint64 // the term that history is of
	var history autopilot.History
	for {
		changed := n.view.changed()
		if term, leading := n.leads(); leading && n.readyTerm.Load() == term {
			if term != led {
				led, history = term, autopilot.History{}
			}
			history = n.pilot(term, history)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
	}
}

// pilot carries out the change of members that is due in the term, if any.
func (n *Node) pilot(term uint64, history autopilot.History) autopilot.History {
	view := autopilot.View{Now: time.Now(), LastIndex: n.raft.LastIndex()}
	followers := n.trans.Followers(term)
	for _, server := range n.servers() {
		id := string(server.ID)
		voter := server.Suffrage == raft.Voter
		heard := followers[id].LastAck
		if id == n.cfg.NodeID {
			heard = view.Now
		}
		view.Servers = append(view.Servers, autopilot.Server{
			ID:         id,
			Voter:      voter,
			Match:      followers[id].Match,
			LastAck:    heard,
			Promotable: !voter && (n.cfg.Promotable == nil || n.cfg.Promotable(id)),
		})
	}
	history, due := autopilot.Plan(autopilot.Settings{
		Trailing: levelWithin,
		Stable:   n.cfg.Timing.Stable,
		Contact:  2 * n.cfg.Timing.Heartbeat,
		Dead:     max(0, n.cfg.Timing.Dead),
	}, history, view)
	if due == nil || !n.leadsIn(term) {
		return history
	}
	ctx, cancel := context.WithTimeout(n.ctx, changePatience)
	defer cancel()
	switch {
	case due.Vote:
		if err := n.Promote(ctx, due.ID); err != nil {
			n.log.Warn("giving a node a vote", "member", due.ID, "err", err)
		} else {
			n.log.Info("gave a node a vote", "member", due.ID)
		}
	default:
		silent := view.Now.Sub(history.Silent[due.ID]).Round(time.Second)
		if err := n.Demote(ctx, due.ID); err != nil {
			n.log.Warn("taking the vote of a dead node", "member", due.ID, "silent", silent, "err", err)
		} else {
			n.log.Warn("took the vote of a dead node, so that one node more may fail; it gets one again when it is back", "member", due.ID, "silent", silent)
		}
	}
	return history
}
