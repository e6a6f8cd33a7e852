package cluster_test

import (
	"io"
	"log/slog"
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
	r := transport.NewReplication(port, nodeID, clustertest.Patience, func(uint64) bool { return false }, hclog.NewNullLogger())
	t.Cleanup(func() { r.Close(); port.Close(); r.Wait() })
	return impostor{r, raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(nodeID), Addr: []byte(l.Addr().String())}}
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
