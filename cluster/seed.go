package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// Seed is what a node is given instead of a log of its own: a state to begin
// with, as the only voter.
type Seed struct {
	DataDir   string
	ClusterID string
	NodeID    string
	Address   string // host:port of its cluster port
	Index     uint64 // of the newest entry in the state
	State     io.WriterTo
	Logger    *slog.Logger
}

// seedTerm is the term of a seeded state. Terms count within one cluster
// generation, and nothing of an older one is ever replicated into it.
const seedTerm = 1

// Plant writes the seed into a data directory that has no log yet; [Open]
// starts from it. A directory with a log is refused, so that none is replaced.
func Plant(seed Seed) (err error) {
	if err := checkAddress(seed.Address); err != nil {
		return err
	}
	dir := (&Config{DataDir: seed.DataDir}).raftDir()
	if _, err := os.Stat(dir); err == nil {
		return ErrHasState
	}
	cfg := Config{DataDir: seed.DataDir, Logger: seed.Logger}
	cfg.fill()
	logger := newRaftLogger(seed.Logger, "snapshots")
	var failed error
	stores, err := storage.Open(storage.Config{
		Dir: dir, ClusterID: seed.ClusterID, NodeID: seed.NodeID, SlowWrite: cfg.Timing.SlowWrite,
		Fatal: func(err error) { failed = err }, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failed, stores.Close()) }()
	configuration := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(seed.NodeID), Address: raft.ServerAddress(seed.Address),
	}}}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(seed.Address))
	defer trans.Close()
	sink, err := stores.Snapshots.Create(raft.SnapshotVersionMax, seed.Index, seedTerm, configuration, seed.Index, trans)
	if err != nil {
		return err
	}
	if _, err := seed.State.WriteTo(sink); err != nil {
		return errors.Join(fmt.Errorf("writing the state to begin with: %w", err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("writing the state to begin with: %w", err)
	}
	if err := stores.Stable.SetUint64([]byte("CurrentTerm"), seedTerm); err != nil { // the name is raft's
		return fmt.Errorf("writing the term to begin with: %w", err)
	}
	return nil
}
