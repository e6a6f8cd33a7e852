package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
)

// Member is a node in Raft's configuration.
type Member struct {
	ID      string
	Address string // host:port of its cluster port
	Voter   bool   // it counts in majorities; a newcomer does not yet
}

// Status is what this node knows of itself and the cluster, at one moment.
type Status struct {
	NodeID, ClusterID string
	State             string // leader, follower, candidate or shutdown
	Ready             bool   // leads, and has applied all that was committed before
	Term              uint64
	LeaderID          string // empty when none is known
	LeaderAddress     string
	Commit            uint64        // highest index known to be committed
	Applied           uint64        // highest index applied to the state machine
	LastIndex         uint64        // of the log
	LastContact       time.Duration // since the leader was last heard of; zero on the leader, -1 for never
	Appends, Pushes   uint64        // Raft's messages to followers, and commit pushes beside them
	Asks              uint64        // heartbeats sent beside them to prove that this node leads
	Calls             uint64        // calls to other nodes
	Repeated          uint64        // snapshots that a follower took again within a minute; it needs an operator
	ReadRounds        uint64        // rounds that found a read point on this node as leader
	Peers             []membership.Peer
}

// Status returns what this node knows.
func (n *Node) Status() Status {
	address, leader := n.raft.LeaderWithID()
	s := Status{
		NodeID:        n.cfg.NodeID,
		ClusterID:     n.cfg.ClusterID,
		State:         stateNames[n.raft.State()],
		Ready:         n.IsLeader(),
		Term:          n.raft.CurrentTerm(),
		LeaderID:      string(leader),
		LeaderAddress: string(address),
		Commit:        n.raft.CommitIndex(),
		Applied:       n.applied.load(),
		LastIndex:     n.raft.LastIndex(),
		LastContact:   -1,
		Peers:         n.gossip.Peers(),
	}
	if last := n.raft.LastContact(); s.State == stateNames[raft.Leader] {
		s.LastContact = 0
	} else if !last.IsZero() {
		s.LastContact = time.Since(last)
	}
	s.Appends, s.Pushes, s.Asks = n.trans.Counts()
	s.ReadRounds = n.points.count()
	s.Repeated = n.trans.Repeated()
	s.Calls = n.calls.Load()
	return s
}

var stateNames = map[raft.RaftState]string{
	raft.Leader:    "leader",
	raft.Follower:  "follower",
	raft.Candidate: "candidate",
	raft.Shutdown:  "shutdown",
}

// Members returns the newest configuration in this node's log, which need not
// be committed; empty on a node that waits to become a member. A node that lags
// answers from what it has; the leader knows best.
func (n *Node) Members(context.Context) ([]Member, error) {
	var members []Member
	for _, server := range n.servers() {
		members = append(members, Member{ID: string(server.ID), Address: string(server.Address), Voter: server.Suffrage == raft.Voter})
	}
	return members, nil
}

// Seated tells whether a node is a member by what this node knows to be committed,
// or by the newest configuration in its log. What is newest there may be overtaken
// by the log of another leader: a removal counts once it is committed.
func (n *Node) Seated(nodeID string) bool {
	var known []raft.Server
	if committed := n.committed.Load(); committed != nil {
		known = *committed
	}
	return holdsSeat(nodeID, known, n.servers())
}

func holdsSeat(nodeID string, configurations ...[]raft.Server) bool {
	return slices.ContainsFunc(slices.Concat(configurations...), func(server raft.Server) bool { return server.ID == raft.ServerID(nodeID) })
}

func (n *Node) servers() []raft.Server { return n.raft.GetConfiguration().Configuration().Servers }

// AddNonvoter adds a node that replicates but does not count in majorities; a
// node that is not there yet costs nothing that way. Adding it again with
// another address changes the address. On the leader only; see [NotLeaderError].
func (n *Node) AddNonvoter(ctx context.Context, id, addr string) error {
	if err := errors.Join(pki.CheckNodeID(id), checkAddress(addr)); err != nil {
		return fmt.Errorf("adding a node: %w: %w", err, ErrNotDone)
	}
	return n.changeMembers(ctx, "adding node "+id, func(servers []raft.Server) (change, error) {
		for _, server := range servers {
			if server.Address == raft.ServerAddress(addr) && server.ID != raft.ServerID(id) {
				return nil, fmt.Errorf("its address %s is that of node %s: %w", addr, server.ID, ErrNotDone)
			}
		}
		if l := n.lender.Load(); l != nil {
			l.pardon(id) // of an earlier removal; leases wait for its membership all the same
		}
		return func(enqueue time.Duration) raft.Future {
			return n.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, enqueue)
		}, nil
	})
}

// Promote gives a member a vote. The leader does so by itself once the member
// is level with it and Config.Promotable agrees. On the leader only.
func (n *Node) Promote(ctx context.Context, id string) error {
	return n.changeMembers(ctx, fmt.Sprintf("giving a vote to node %.80s", id), func(servers []raft.Server) (change, error) {
		for _, server := range servers {
			switch {
			case server.ID != raft.ServerID(id):
			case server.Suffrage == raft.Voter:
				return nil, nil
			default:
				return func(enqueue time.Duration) raft.Future {
					return n.raft.AddVoter(server.ID, server.Address, 0, enqueue)
				}, nil
			}
		}
		return nil, errNoMember
	})
}

var errNoMember = fmt.Errorf("it is not a member: %w", ErrNotDone)

// Remove takes a node out of the cluster and tells it so; removing one that is
// not a member does nothing. A voter without which the others are no majority now
// stays, see [ErrMajority], and so does the last one. On the leader only; a
// leader that removes itself is fatal to it, as to any removed node.
func (n *Node) Remove(ctx context.Context, id string) error {
	what := fmt.Sprintf("removing node %.80s", id)
	// What would be refused costs nobody a lease.
	if err := n.MajorityWithout(ctx, id); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	lender, err := n.vacate(ctx, id)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	removed := false
	defer func() {
		if !removed {
			lender.pardon(id)
		}
	}()
	var leaving raft.Server
	err = n.changeMembers(ctx, what, func(servers []raft.Server) (change, error) {
		at := slices.IndexFunc(servers, func(server raft.Server) bool { return server.ID == raft.ServerID(id) })
		if at < 0 {
			return nil, nil
		}
		leaving = servers[at]
		// In a later term it may hold leases that nobody has waited for.
		if n.lender.Load() != lender || !n.leadsIn(lender.term) {
			return nil, fmt.Errorf("leadership changed while its last serving lease ran out: %w", errBusy)
		}
		if err := n.MajorityWithout(ctx, id); err != nil {
			return nil, err
		}
		return func(enqueue time.Duration) raft.Future { return n.raft.RemoveServer(leaving.ID, 0, enqueue) }, nil
	})
	switch {
	case err != nil:
		removed = errors.Is(err, ErrOutcomeUnknown) // it may yet be
		return err
	case leaving.ID == "":
		return nil
	}
	removed = true
	if id == n.cfg.NodeID {
		n.fatal(ErrRemoved)
		return nil
	}
	n.gone.Store(id, string(leaving.Address))
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := n.Call(ctx, id, methodRemoved, nil); err != nil {
		n.log.Info("the removed node could not be told", "member", id, "err", err)
	}
	return nil
}

// change proposes one change of members to Raft.
type change func(enqueue time.Duration) raft.Future

// changeMembers decides on one change, by the newest configuration, and carries
// it out; nil is none. The next one is decided on when Raft has answered, however
// long the caller waits: what was checked before a change is true until it is made.
func (n *Node) changeMembers(ctx context.Context, what string, decide func([]raft.Server) (change, error)) error {
	select {
	case n.changes <- struct{}{}:
	case <-n.open.Done():
		return fmt.Errorf("%s: %w", what, ErrStopped)
	case <-ctx.Done():
		return fmt.Errorf("%s: another change is under way: %w: %w", what, errBusy, context.Cause(ctx))
	}
	var do change
	err := n.waitReady(ctx)
	if err == nil {
		do, err = decide(n.servers())
	}
	if err != nil || do == nil {
		<-n.changes
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		return err
	}
	err = n.await(ctx, func() error {
		defer func() { <-n.changes }()
		return do(enqueueTimeout).Error()
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrStopped): // the function was not called
		<-n.changes
	case errors.Is(err, raft.ErrNotLeader):
		err = n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		err = fmt.Errorf("%w: %w", errBusy, err)
	case !errors.Is(err, ErrNotDone) && !errors.Is(err, ErrOutcomeUnknown):
		err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// TransferLeadership hands leadership to the voter that is furthest. Proposals
// wait meanwhile. On the leader only.
func (n *Node) TransferLeadership(ctx context.Context) error {
	if _, ok := n.leads(); !ok {
		return n.notLeader()
	}
	return n.transfer(ctx, n.raft.LeadershipTransfer)
}

func (n *Node) transfer(ctx context.Context, begin func() raft.Future) error {
	err := n.await(ctx, func() error { return begin().Error() })
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return n.notLeader()
	case err != nil:
		return fmt.Errorf("handing leadership on: %w", err)
	}
	return nil
}
