package cluster_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/storage"
)

// TestTheLogIsBounded: snapshots keep every node's log from growing, and what is to
// be left behind them for followers is left.
func TestTheLogIsBounded(t *testing.T) {
	t.Parallel()
	const threshold, trailing, entries = 20, 30, 400
	const few = 10 // that Raft writes itself while one node after the other stops
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		steady(cfg)
		cfg.SnapshotThreshold, cfg.TrailingLogs = threshold, trailing
	}})
	for i := range entries {
		_, err := c.Leader().Propose(patience(t), fmt.Appendf(nil, "k%d=%d", i%50, i))
		if err != nil && !errors.Is(err, cluster.ErrOutcomeUnknown) { // a busy machine lost its leader under it
			t.Fatalf("proposing: %v", err)
		}
	}
	dir := func(m *clustertest.Member) string { return filepath.Join(m.DataDir, "raft") }
	for _, m := range c.Members {
		c.Eventually("a snapshot of "+m.ID+" near the end of its log", func() bool {
			newest, err := storage.NewestSnapshot(dir(m))
			return err == nil && m.Status().LastIndex >= entries && newest.Index+threshold >= m.Status().LastIndex
		})
	}
	for _, m := range c.Members {
		c.Stop(m)
		first, last := logOf(t, dir(m))
		if kept := last - first + 1; last < entries || kept > threshold+trailing+few || kept < trailing {
			t.Errorf("%s keeps the %d entries from %d to %d, want %d to %d of at least %d", m.ID, kept, first, last, trailing, threshold+trailing+few, entries)
		}
	}
}

// logOf is the first and the last index in the log of a node that is stopped.
func logOf(t *testing.T, dir string) (first, last uint64) {
	t.Helper()
	stores, err := storage.OpenStopped(dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer stores.Close()
	first, err = stores.Log.FirstIndex()
	if err == nil {
		last, err = stores.Log.LastIndex()
	}
	if err != nil {
		t.Fatal(err)
	}
	return first, last
}
