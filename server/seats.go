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
	callMayRemove = "server.may-remove"          // node id → nothing, or why not
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
	if _, known := s.machine.State().Node(req.NodeID); known {
		if _, err := m.node.CallLeader(ctx, callMayRemove, []byte(req.NodeID)); err != nil {
			return struct{}{}, fmt.Errorf("node %s stays: %w", req.NodeID, err)
		}
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
	if _, known := s.machine.State().Node(nodeID); known && standby {
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
			return fmt.Errorf("it is decided, but not carried out yet: the leader goes on trying (`kmsctl cluster status` shows it): %w", context.Cause(ctx))
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

// settleSeats has the leader take out members that are no nodes of the cluster
// any more, and take their vote from those that are to be standbys. A leader
// that finds itself among them hands leadership on: the next one sees to it.
func (s *Server) settleSeats(ctx context.Context, m *member, root *state.Root, members []cluster.Member) error {
	for _, one := range members {
		node, known := root.Node(one.ID)
		if known && !(node.Standby && one.Voter) {
			continue
		}
		var err error
		switch {
		case one.ID == s.cfg.NodeID:
			err = m.node.TransferLeadership(ctx)
		case known:
			err = m.node.Demote(ctx, one.ID)
		default:
			err = m.node.Remove(ctx, one.ID)
		}
		if err != nil {
			return err
		}
		return nil // one change at a time
	}
	return nil
}
