package main_test

import (
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	replication "github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// Periods of weeks are brought near by changing the state of a stopped cluster:
// every node finds one and the same snapshot, at the place in the log that the
// foremost of them had reached, and no log behind it.

// wind changes the state of a stopped cluster.
func (c *cluster) wind(t *testing.T, change func(*state.Txn)) {
	t.Helper()
	var foremost *state.Root
	var at, term uint64
	for _, n := range c.file.Nodes {
		root, index, logTerm := stoppedState(t, filepath.Join(n.DataDir, "raft"))
		if index > at {
			foremost, at, term = root, index, logTerm
		}
	}
	txn := foremost.Txn()
	change(txn)
	txn.SetApplied(at)
	wound := txn.Commit()
	for _, n := range c.file.Nodes {
		c.plant(t, n.ID, filepath.Join(n.DataDir, "raft"), wound, at, term)
	}
}

// stoppedState is the state of a stopped node, and where its log ends.
func stoppedState(t *testing.T, dir string) (root *state.Root, index, term uint64) {
	t.Helper()
	machine := replayed{fsm.New()}
	found, err := replication.Replay(dir, machine, nil)
	if err != nil {
		t.Fatal(err)
	}
	return machine.State(), found.Last.Index, found.Last.Term
}

// plant replaces a node's log and snapshots by one snapshot.
func (c *cluster) plant(t *testing.T, id, dir string, root *state.Root, index, term uint64) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	stores, err := storage.Open(storage.Config{
		Dir: dir, ClusterID: root.Cluster().ID, NodeID: id, SlowWrite: startTimeout, Logger: hclog.NewNullLogger(),
		Fatal: func(err error) { slog.Error("winding", "error", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stores.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	if err := stores.Log.DeleteRange(0, math.MaxUint64); err != nil {
		t.Fatal(err)
	}
	var members raft.Configuration
	for _, n := range c.file.Nodes {
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(n.ID), Address: raft.ServerAddress(n.ClusterAddress)})
	}
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	sink, err := stores.Snapshots.Create(raft.SnapshotVersionMax, index, term, members, index, trans)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Write(sink, root); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}

// replayed is a state machine that a log is replayed into.
type replayed struct{ *fsm.Machine }

func (m replayed) Apply(entries []replication.Entry) ([]replication.Reply, error) {
	batch := make([]fsm.Entry, len(entries))
	for i, e := range entries {
		batch[i] = fsm.Entry{Index: e.Index, Term: e.Term, Data: e.Data}
	}
	_, _, err := m.ApplyFenced(batch)
	return make([]replication.Reply, len(entries)), err
}

func (m replayed) Snapshot() (io.WriterTo, error) { return m.Machine.Snapshot(), nil }

func (m replayed) AppliedIndex() uint64 { return m.State().Applied() }
