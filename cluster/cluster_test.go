package cluster_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

func TestMain(m *testing.M) {
	if encoded := os.Getenv(childEnv); encoded != "" {
		if err := runChild(encoded); err != nil {
			fmt.Fprintln(os.Stderr, "a node of the test:", err)
			os.Exit(1)
		}
		return
	}
	// A probe of memberlist outlives its Shutdown by the probe's timeout, and who
	// has given Raft an entry that it had not looked at when it ended, Raft.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/raft.(*deferError).Error"))
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	t.Cleanup(cancel)
	return ctx
}

func value(m *clustertest.Member, key string) string {
	return m.Machine.(*clustertest.Machine).Value(key)
}

// steady has a leader keep its office although a busy machine holds it up.
func steady(cfg *cluster.Config) {
	cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease, cfg.Timing.Lease = time.Second, time.Second, time.Second, 6*time.Second
}

// TestProposeAnywhere: every node takes commands, and the answering node has
// applied what it answers. CommitTimeout is an hour, so that followers learn of
// commits by the push alone. A leader that loses its office is no part of this,
// and a busy machine may hold one up for long.
func TestProposeAnywhere(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Timing.Commit = time.Hour
		steady(cfg)
	}})
	ctx := patience(t)
	var last cluster.Committed
	for i := range 60 {
		m := c.Members[i%3]
		want := fmt.Sprint(i)
		committed, err := m.Propose(ctx, []byte("k="+want))
		if err != nil {
			t.Fatalf("proposing by way of %s: %v", m.ID, err)
		}
		if got := string(committed.Reply); got != fmt.Sprint(i+1) {
			t.Fatalf("reply %q, want %d", got, i+1)
		}
		if committed.Index <= last.Index {
			t.Fatalf("index %d after %d", committed.Index, last.Index)
		}
		if got := value(m, "k"); got != want {
			t.Fatalf("%s answered before it applied: %q, want %q", m.ID, got, want)
		}
		last = committed
	}
	if c.Leader().Status().Pushes == 0 {
		t.Fatal("no commit was pushed")
	}
}
