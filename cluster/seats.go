package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Demote takes the vote from a member, which goes on replicating. The last
// voter keeps its vote. On the leader only; a leader that demotes itself should
// have handed leadership on before.
func (n *Node) Demote(ctx context.Context, id string) error {
	n.changes.Lock()
	defer n.changes.Unlock()
	var others int
	var demoted *raft.Server
	for _, server := range n.servers() {
		switch {
		case server.ID == raft.ServerID(id):
			demoted = &server
		case server.Suffrage == raft.Voter:
			others++
		}
	}
	switch {
	case demoted == nil:
		return fmt.Errorf("taking the vote of node %.80q: it is not a member: %w", id, ErrNotDone)
	case demoted.Suffrage != raft.Voter:
		return nil
	case others == 0:
		return fmt.Errorf("taking the vote of node %s: it is the last one that has one: %w", id, ErrNotDone)
	}
	return n.changeMembers(ctx, "taking the vote of node "+id, func(enqueue time.Duration) raft.Future {
		return n.raft.DemoteVoter(demoted.ID, 0, enqueue)
	})
}

// MajorityWithout refuses when the cluster could not decide anything without a
// voter: fewer than a majority of the others have answered the leader lately.
// On the leader only.
func (n *Node) MajorityWithout(id string) error {
	term, ok := n.leads()
	if !ok {
		return n.notLeader()
	}
	followers := n.trans.Followers(term)
	var voters, answering int
	for _, server := range n.servers() {
		if server.Suffrage != raft.Voter || server.ID == raft.ServerID(id) {
			continue
		}
		voters++
		if string(server.ID) == n.cfg.NodeID || time.Since(followers[string(server.ID)].LastAck) <= 2*n.cfg.Timing.Heartbeat {
			answering++
		}
	}
	if answering < voters/2+1 {
		return fmt.Errorf("without node %s only %d of %d voters would answer, which is no majority: bring others back first: %w", id, answering, voters, ErrNotDone)
	}
	return nil
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
