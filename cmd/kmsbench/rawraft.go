package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// entryBytes is how large the entries are that Raft and cluster.Propose get.
const entryBytes = 512

// discardEntries is the least that can be replicated into.
type discardEntries struct{}

func (discardEntries) Apply(*raft.Log) any                 { return nil }
func (discardEntries) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (discardEntries) Snapshot() (raft.FSMSnapshot, error) { return discardEntries{}, nil }
func (discardEntries) Restore(r io.ReadCloser) error       { return r.Close() }
func (discardEntries) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (discardEntries) Release()                            {}

// rawRaft is nodes of hashicorp/raft and nothing else, in this process: over TCP
// without TLS, with the stores, the batches and the timing that package cluster
// gives it.
type rawRaft struct {
	nodes  []rawNode
	entry  []byte
	faults faults
}

type rawNode struct {
	raft      *raft.Raft
	transport *raft.NetworkTransport
	stores    *storage.Stores
}

// startRaw starts the nodes, with a directory each under dir, and waits until
// one leads.
func startRaw(ctx context.Context, dir string, nodes int) (*rawRaft, error) {
	r := &rawRaft{entry: make([]byte, entryBytes)}
	var configuration raft.Configuration
	for i := range nodes {
		server, err := r.add(dir, fmt.Sprintf("raw-%d", i+1))
		if err != nil {
			return nil, fmt.Errorf("starting raft alone: %w", errors.Join(err, r.close()))
		}
		configuration.Servers = append(configuration.Servers, server)
	}
	err := r.nodes[0].raft.BootstrapCluster(configuration).Error()
	if err == nil {
		err = r.apply(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("starting raft alone: %w", errors.Join(err, r.close()))
	}
	return r, nil
}

// add opens one node.
func (r *rawRaft) add(dir, id string) (raft.Server, error) {
	stores, err := storage.Open(storage.Config{
		Dir: filepath.Join(dir, id), ClusterID: "raw", NodeID: id, SlowWrite: time.Minute,
		Fatal: r.faults.add, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		return raft.Server{}, err
	}
	transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 4, 5*time.Second, hclog.NewNullLogger())
	if err != nil {
		return raft.Server{}, errors.Join(err, stores.Close())
	}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(id)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
	config.MaxAppendEntries, config.BatchApplyCh = 256, true
	config.NoLegacyTelemetry = true
	config.Logger = hclog.NewNullLogger()
	node, err := raft.NewRaft(config, discardEntries{}, stores.Log, stores.Stable, stores.Snapshots, transport)
	if err != nil {
		return raft.Server{}, errors.Join(err, transport.Close(), stores.Close())
	}
	r.nodes = append(r.nodes, rawNode{node, transport, stores})
	return raft.Server{ID: config.LocalID, Address: transport.LocalAddr()}, nil
}

// apply has Raft apply an entry.
func (r *rawRaft) apply(ctx context.Context) error {
	return whileNobodyLeads(ctx, func() (leaderless bool, err error) {
		for _, n := range r.nodes {
			if n.raft.State() == raft.Leader {
				err := n.raft.Apply(r.entry, time.Minute).Error()
				return errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost), err
			}
		}
		return true, errors.New("none of the nodes leads")
	})
}

// close ends the nodes, and says what has befallen them.
func (r *rawRaft) close() error {
	var all error
	for _, n := range r.nodes {
		all = errors.Join(all, n.raft.Shutdown().Error())
		n.transport.CloseStreams()
		all = errors.Join(all, n.transport.Close(), n.stores.Close())
	}
	return errors.Join(all, r.faults.all())
}
