package cluster_test

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/transport"
)

// impostor speaks Raft in a node's name, and does not do what Raft would.
type impostor struct {
	*transport.Replication
	header raft.RPCHeader
}

func pretend(t *testing.T, c *clustertest.Cluster, nodeID string) impostor {
	t.Helper()
	l, err := transport.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := transport.OpenPort(transport.PortConfig{
		Identity: c.CA.Identity(t, nodeID), Listener: l, Advertise: l.Addr().String(), Logger: slog.New(slog.DiscardHandler),
	})
	r := transport.NewReplication(port, nodeID, clustertest.Patience, func(uint64) bool { return false }, clustertest.NothingApplied(), hclog.NewNullLogger())
	t.Cleanup(func() { r.Close(); port.Close(); r.Wait() })
	return impostor{r, raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(nodeID), Addr: []byte(l.Addr().String())}}
}

// TestWhoHasNoVoteLeadsNobody: a certificate that is admitted does not make a
// leader, or a candidate, of who has no vote (any more), and a connection from
// before does not either.
func TestWhoHasNoVoteLeadsNobody(t *testing.T) {
	t.Parallel()
	var settled atomic.Bool
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Promotable = func(string) bool { return !settled.Load() }
		// A busy machine may hold up a renewal for long.
		cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.Lease = time.Second, time.Second, 20*time.Second
	}})
	settled.Store(true)
	demoted, ctx := c.Follower(), patience(t)
	var members []*clustertest.Member
	for _, m := range c.Members {
		if m != demoted {
			members = append(members, m)
		}
	}
	serving(t, c, members...)
	former, stranger := pretend(t, c, demoted.ID), pretend(t, c, "node-9")
	for _, m := range members {
		// Of a term that is over: nothing comes of it, but it is dealt with.
		old := &raft.AppendEntriesRequest{RPCHeader: former.header}
		if err := former.AppendEntries(raft.ServerID(m.ID), raft.ServerAddress(m.Address), old, new(raft.AppendEntriesResponse)); err != nil {
			t.Fatalf("%s does not listen to a voter: %v", m.ID, err)
		}
	}
	if err := c.Leader().Demote(ctx, demoted.ID); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if _, err := m.Barrier(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range members {
		id, address, status := raft.ServerID(m.ID), raft.ServerAddress(m.Address), m.Status()
		for _, who := range []impostor{former, stranger} {
			f := func(what string, err error) {
				t.Helper()
				if err == nil {
					t.Errorf("%s answers %s of %s", m.ID, what, who.header.ID)
				}
			}
			next := status.Term + 1
			f("entries", who.AppendEntries(id, address, &raft.AppendEntriesRequest{
				RPCHeader: who.header, Term: next, LeaderCommitIndex: status.LastIndex + 1,
				Entries: []*raft.Log{{Index: status.LastIndex + 1, Term: next, Type: raft.LogCommand, Data: []byte("key=stolen")}},
			}, new(raft.AppendEntriesResponse)))
			f("a call to an election", who.TimeoutNow(id, address, &raft.TimeoutNowRequest{RPCHeader: who.header}, new(raft.TimeoutNowResponse)))
			f("a candidate", who.RequestVote(id, address, &raft.RequestVoteRequest{RPCHeader: who.header, Term: next, LeadershipTransfer: true}, new(raft.RequestVoteResponse)))
		}
		if got := value(m, "key"); got != "" {
			t.Errorf("%s has applied what a node without a vote sent: %q", m.ID, got)
		}
	}
	if _, err := c.Leader().Propose(ctx, []byte("key=ours")); err != nil {
		t.Error(err)
	}
}

// TestLeaderThatHadNoVote: a node that was down takes for the leader whom its
// old state knows without a vote.
func TestLeaderThatHadNoVote(t *testing.T) {
	t.Parallel()
	var settled atomic.Bool
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Promotable = func(string) bool { return !settled.Load() }
	}})
	settled.Store(true)
	away, newcomer, ctx := c.Follower(), c.Add(), patience(t)
	c.Join(newcomer)
	if _, err := away.Barrier(ctx); err != nil {
		t.Fatal(err)
	}
	if err := away.Erase(ctx); err != nil { // its snapshot knows of the newcomer
		t.Fatal(err)
	}
	c.Stop(away)
	settled.Store(false)
	c.WaitVoters(4)
	c.Eventually("the newcomer to lead", func() bool {
		c.Leader().TransferLeadershipTo(ctx, newcomer.ID)
		return newcomer.IsLeader()
	})
	c.Restart(away)
	serving(t, c, away)
}

// TestSnapshotThatStops: a leader that stops in the middle of a snapshot does not
// keep the node from voting for another one.
func TestSnapshotThatStops(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, Configure: func(cfg *cluster.Config) { cfg.Timing.Request = time.Second }})
	follower := c.Add()
	id, address := raft.ServerID(follower.ID), raft.ServerAddress(follower.Address)
	leader, candidate := pretend(t, c, "node-1"), pretend(t, c, "node-3")
	const size = 1 << 20
	data, rest := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		sent <- leader.InstallSnapshot(id, address, &raft.InstallSnapshotRequest{
			RPCHeader: leader.header, SnapshotVersion: raft.SnapshotVersionMax, Term: 2, LastLogIndex: 9, LastLogTerm: 2,
			Configuration: raft.EncodeConfiguration(raft.Configuration{}), ConfigurationIndex: 1, Size: size,
		}, new(raft.InstallSnapshotResponse), data)
	}()
	defer func() {
		rest.CloseWithError(io.ErrClosedPipe)
		if err := <-sent; err == nil {
			t.Error("half a snapshot was taken for one")
		}
	}()
	if _, err := rest.Write(make([]byte, size/2)); err != nil {
		t.Fatal(err)
	}
	c.Eventually("the snapshot to be taken in", func() bool { return follower.Status().Term == 2 })
	var vote raft.RequestVoteResponse
	if err := candidate.RequestVote(id, address, &raft.RequestVoteRequest{
		RPCHeader: candidate.header, Term: 3, LastLogIndex: 9, LastLogTerm: 2, LeadershipTransfer: true,
	}, &vote); err != nil || !vote.Granted {
		t.Fatalf("asked for its vote, the follower says %+v, %v", vote, err)
	}
}
