package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// Who belongs to the cluster, and who votes. What the operator wants is in the
// replicated state; the leader brings Raft's configuration in line with it, and
// so does the next leader, should this one fall over meanwhile.

// What a member asks of the leader.
const (
	callMayRemove = "server.may-remove"          // node id → nothing, or why its vote cannot be spared
	callTransfer  = "server.transfer-leadership" // node id, or nothing → nothing
)

const (
	// seatTimeout bounds the wait until the configuration is what was asked for.
	seatTimeout = time.Minute
	seatPeriod  = 100 * time.Millisecond
)

// removeNode takes a node out of the cluster, for good.
func (s *Server) removeNode(ctx context.Context, req wire.NodeRequest) (struct{}, error) {
	m := s.member.Load()
	if m == nil {
		return struct{}{}, errNoCluster
	}
	if req.NodeID == s.cfg.NodeID {
		return struct{}{}, errors.New("a node does not remove itself: ask another member")
	}
	if _, err := m.node.CallLeader(ctx, callMayRemove, []byte(req.NodeID)); err != nil {
		return struct{}{}, fmt.Errorf("node %s stays: %w", req.NodeID, err)
	}
	if err := m.service.RemoveNode(ctx, uuid.NewString(), command.RemoveNode{NodeID: req.NodeID}); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, m.awaitSeat(ctx, req.NodeID, func(_, member bool) bool { return !member })
}

// setStandby says whether a node is to stay without a vote, and waits until it
// has one or has none.
func (s *Server) setStandby(ctx context.Context, nodeID string, standby bool) error {
	m := s.member.Load()
	if m == nil {
		return errNoCluster
	}
	if standby {
		if _, err := m.node.CallLeader(ctx, callMayRemove, []byte(nodeID)); err != nil {
			return fmt.Errorf("node %s keeps its vote: %w", nodeID, err)
		}
	}
	if err := m.service.SetStandby(ctx, uuid.NewString(), command.SetStandby{NodeID: nodeID, Standby: standby}); err != nil {
		return err
	}
	return m.awaitSeat(ctx, nodeID, func(voter, _ bool) bool { return voter != standby })
}

// awaitSeat waits until a node's place in the configuration is good.
func (m *member) awaitSeat(ctx context.Context, nodeID string, good func(voter, member bool) bool) error {
	ctx, cancel := context.WithTimeout(ctx, seatTimeout)
	defer cancel()
	for {
		members, err := m.node.Members(ctx)
		if err != nil {
			return fmt.Errorf("reading the cluster's configuration: %w", err)
		}
		voter, member := false, false
		for _, one := range members {
			if one.ID == nodeID {
				voter, member = one.Voter, true
			}
		}
		if good(voter, member) {
			return nil
		}
		select {
		case <-ctx.Done():
			return unfinished{fmt.Errorf("it is decided, but not carried out yet: the leader goes on trying (`kmsctl cluster status` on the leader shows what it waits for): %w", context.Cause(ctx))}
		case <-time.After(seatPeriod):
		}
	}
}

// transferLeadership hands leadership to a node, or away from the leader.
func (s *Server) transferLeadership(ctx context.Context, req wire.NodeRequest) (wire.TransferReply, error) {
	m := s.member.Load()
	if m == nil {
		return wire.TransferReply{}, errNoCluster
	}
	before, _ := m.node.Leader()
	term := m.node.Status().Term
	if before != "" && before == req.NodeID {
		return wire.TransferReply{Leader: before}, nil
	}
	if _, err := m.node.CallLeader(ctx, callTransfer, []byte(req.NodeID)); err != nil && !errors.Is(err, cluster.ErrOutcomeUnknown) {
		return wire.TransferReply{}, err
	}
	now, err := m.awaitOther(ctx, before, term)
	return wire.TransferReply{Leader: now}, err
}

// awaitOther waits until another node leads than the one that did in a term.
func (m *member) awaitOther(ctx context.Context, before string, term uint64) (now string, err error) {
	ctx, cancel := context.WithTimeout(ctx, seatTimeout)
	defer cancel()
	for {
		// Raft forgets the leader before it takes up a newer term: who leads after
		// that was read was elected in it, or later.
		newer := m.node.Status().Term > term
		now, known := m.node.Leader()
		switch {
		case known && now != before:
			return now, nil
		case known && newer:
			return "", fmt.Errorf("node %s was elected again after it had handed leadership on: try again", before)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("node %s still leads: %w", before, context.Cause(ctx))
		case <-time.After(seatPeriod):
		}
	}
}

// handOn hands leadership on; who asks may say to whom.
func (m *member) handOn(ctx context.Context, to string) error {
	if to == "" {
		return m.node.TransferLeadership(ctx)
	}
	return m.node.TransferLeadershipTo(ctx, to)
}

// mayVote says whether the operator wants a node to have a vote.
func (s *Server) mayVote(nodeID string) bool {
	node, known := s.machine.State().Node(nodeID)
	return known && !node.Standby
}

// due is what was decided about a member and is not carried out yet, as status
// says it; empty: nothing.
func due(root *state.Root, one cluster.Member) string {
	node, known := root.Node(one.ID)
	switch {
	case !known:
		return dueRemoval
	case node.Standby && one.Voter:
		return dueStandby
	}
	return ""
}

const (
	dueRemoval = "to be removed"
	dueStandby = "to lose its vote"
)

// answerMayRemove says on the leader whether the cluster can spare the vote of a
// node, beside those of whom that was decided before. Of a node that it does not
// know the command itself will say so.
func (s *Server) answerMayRemove(ctx context.Context, m *member, nodeID string) error {
	if _, err := m.node.Barrier(ctx); err != nil {
		return err
	}
	root := s.machine.State()
	if _, known := root.Node(nodeID); !known {
		return nil
	}
	members, err := m.node.Members(ctx)
	if err != nil {
		return fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	going := []string{nodeID}
	for _, one := range members {
		if one.Voter && one.ID != nodeID && due(root, one) != "" {
			going = append(going, one.ID)
		}
	}
	return m.node.MajorityWithout(ctx, going...)
}

// settleSeats has the leader take out members that are no nodes of the cluster
// any more, and take their vote from those that are to be standbys. A leader
// that finds itself among them hands leadership on: the next one sees to it.
// What would cost the majority waits: since it was decided somebody may have
// died, or gone by another decision.
func (s *Server) settleSeats(ctx context.Context, m *member, root *state.Root, members []cluster.Member) error {
	waiting := make(map[string]string)
	for _, one := range members {
		what := due(root, one)
		if what == "" {
			continue
		}
		err := s.settleSeat(ctx, m, one.ID, what)
		if !errors.Is(err, cluster.ErrMajority) {
			return err // one change at a time
		}
		waiting[one.ID] = err.Error()
		if before := m.waiting.Load(); before == nil || (*before)[one.ID] == "" {
			s.cfg.Logger.Warn("a change of members was decided, and waits: it would cost the cluster its majority now", "node", one.ID, "due", what, "error", err)
		}
	}
	m.waiting.Store(&waiting)
	return nil
}

func (s *Server) settleSeat(ctx context.Context, m *member, nodeID, what string) error {
	switch {
	case nodeID == s.cfg.NodeID:
		if err := m.node.MajorityWithout(ctx, nodeID); err != nil {
			return err // the next leader could do no more, and would hand leadership back
		}
		return m.node.TransferLeadership(ctx)
	case what == dueStandby:
		return m.node.Demote(ctx, nodeID)
	default:
		return m.node.Remove(ctx, nodeID)
	}
}

// seated says whether a node has a seat in Raft's configuration still, as far as
// this node knows.
func (s *Server) seated(nodeID string) bool {
	m := s.member.Load()
	if m == nil {
		return false
	}
	return m.node.Seated(nodeID)
}

// dueInfo is what status says of a change that was decided and is not carried
// out yet; why it waits only the leader knows.
func (m *member) dueInfo(root *state.Root, one cluster.Member) string {
	what := due(root, one)
	if waiting := m.waiting.Load(); what != "" && waiting != nil && m.node.IsLeader() {
		if why := (*waiting)[one.ID]; why != "" {
			what += ": " + why
		}
	}
	return what
}
