package cluster

import (
	"log/slog"
	"testing"
)

// A log is bounded where nobody says how: by the defaults that Config's fields tell.
func TestSnapshotDefaults(t *testing.T) {
	f := func(threshold, trailing, wantThreshold, wantTrailing uint64) {
		t.Helper()
		c := Config{SnapshotThreshold: threshold, TrailingLogs: trailing, Logger: slog.New(slog.DiscardHandler)}
		c.fill()
		if rc := c.raftConfig(nil); rc.SnapshotThreshold != wantThreshold || rc.TrailingLogs != wantTrailing {
			t.Errorf("with %d and %d Raft is told %d and %d", threshold, trailing, rc.SnapshotThreshold, rc.TrailingLogs)
		}
	}
	f(0, 0, 8192, 10240)
	f(20, 30, 20, 30)
	f(20, NoTrailingLogs, 20, 0)
}
