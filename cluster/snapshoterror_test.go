package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// TestASnapshotThatCannotBeWritten: a node whose disk does not take a snapshot
// ends, since its log would grow for ever otherwise.
func TestASnapshotThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, Configure: func(cfg *cluster.Config) { cfg.SnapshotThreshold = 50 }})
	m := c.Members[0]
	snapshots := filepath.Join(m.DataDir, "raft", "snapshots")
	if err := errors.Join(os.RemoveAll(snapshots), os.WriteFile(snapshots, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx := patience(t)
	c.Eventually("the node to end", func() bool {
		_, _ = m.Propose(ctx, []byte("k=1")) // fails when the node has ended meanwhile
		return len(m.Fatal) > 0
	})
	if err := <-m.Fatal; !strings.Contains(err.Error(), "making a snapshot") {
		t.Errorf("it ended because of %v", err)
	}
	if _, err := m.Propose(ctx, []byte("k=x")); !errors.Is(err, cluster.ErrStopped) {
		t.Errorf("a command after that: %v", err)
	}
}
