package main_test

import (
	"context"
	"testing"
	"time"
)

// What the replication library counts is in /metrics, and when the cluster's CA
// ends.
func TestMetricsOfReplication(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n := foundAlone(ctx, t, t.TempDir(), "module: {kind: soft}\n")
	await(t, "a node that is ready", func() bool {
		status, err := n.socket.Status(ctx)
		return err == nil && status.Ready
	})
	if got := n.metric(ctx, t, "raft_state_leader"); got < 1 {
		t.Errorf("it has led %v times", got)
	}
	if got := n.metric(ctx, t, "raft_boltdb_storeLogs_count"); got < 1 {
		t.Errorf("%v writes of its log were measured", got)
	}
	if got := n.metric(ctx, t, "kmsd_erasure_pending"); got != 0 {
		t.Errorf("%v erasures are pending where nothing was deleted", got)
	}
	if years := time.Until(time.Unix(int64(n.metric(ctx, t, "kmsd_ca_expiry_timestamp_seconds")), 0)).Hours() / 24 / 365; years < 9 || years > 11 {
		t.Errorf("the CA lives %.1f years", years)
	}
}
