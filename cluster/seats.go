package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// Demote takes the vote from a member, which goes on replicating. A voter without
// which the others are no majority now keeps its vote, see [ErrMajority], and so
// does the last one. On the leader only; a leader that demotes itself should
// have handed leadership on before.
func (n *Node) Demote(ctx context.Context, id string) error {
	return n.changeMembers(ctx, fmt.Sprintf("taking the vote of node %.80s", id), func(servers []raft.Server) (change, error) {
		at := slices.IndexFunc(servers, func(server raft.Server) bool { return server.ID == raft.ServerID(id) })
		switch {
		case at < 0:
			return nil, errNoMember
		case servers[at].Suffrage != raft.Voter:
			return nil, nil
		}
		if err := n.MajorityWithout(ctx, id); err != nil {
			return nil, err
		}
		return func(enqueue time.Duration) raft.Future { return n.raft.DemoteVoter(servers[at].ID, 0, enqueue) }, nil
	})
}

// MajorityWithout refuses with [ErrMajority] when the cluster could not decide
// anything without some of its voters: fewer than a majority of the others answer
// what the leader asks them now. What was heard of them before does not count: it
// may be from before they died. On the leader only.
func (n *Node) MajorityWithout(ctx context.Context, ids ...string) error {
	patience, cancel := context.WithTimeout(ctx, 2*n.cfg.Timing.Heartbeat)
	defer cancel()
	without := "without node " + strings.Join(ids, " and node ")
	w := n.witness()
	after := w.acks.Sent() // first: everything else is looked at later
	term, ok := n.leads()
	if !ok {
		return n.notLeader()
	}
	var rest []raft.Server
	for _, server := range n.servers() {
		if server.Suffrage == raft.Voter && !slices.Contains(ids, string(server.ID)) {
			rest = append(rest, server)
		}
	}
	if len(rest) == 0 {
		return fmt.Errorf("%s nobody would have a vote: %w", without, ErrMajority)
	}
	n.trans.Ask(term, others(rest, w.self))
	for {
		news, changed := w.acks.News(), n.view.changed()
		if !n.leadsIn(term) {
			return n.notLeader()
		}
		answering := 0
		for _, server := range rest {
			if server.ID == w.self || w.acks.Acked(server.ID, term, after) {
				answering++
			}
		}
		if answering > len(rest)/2 {
			return nil
		}
		select {
		case <-news:
		case <-changed:
		case <-n.open.Done():
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("asking the voters whether they are there: %w: %w", ErrNotDone, context.Cause(ctx))
		case <-patience.Done():
			return fmt.Errorf("%s only %d of %d voters would answer, which is no majority: bring others back first: %w", without, answering, len(rest), ErrMajority)
		}
	}
}

// TransferLeadershipTo hands leadership to a voter. Proposals wait meanwhile.
// On the leader only; nothing happens when it is that node.
func (n *Node) TransferLeadershipTo(ctx context.Context, id string) error {
	if _, ok := n.leads(); !ok {
		return n.notLeader()
	}
	if id == n.cfg.NodeID {
		return nil
	}
	for _, server := range n.servers() {
		if server.ID != raft.ServerID(id) {
			continue
		}
		if server.Suffrage != raft.Voter {
			return fmt.Errorf("handing leadership to node %s: it has no vote: %w", id, ErrNotDone)
		}
		return n.transfer(ctx, func() raft.Future { return n.raft.LeadershipTransferToServer(server.ID, server.Address) })
	}
	return fmt.Errorf("handing leadership to node %.80q: it is not a member: %w", id, ErrNotDone)
}
