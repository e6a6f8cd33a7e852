package cluster_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// A leader that refuses every command for longer than handing leadership on can
// take, and says that it does, ends its process: raft would go on so for ever
// (hashicorp/raft#696). Time passes fast here while it waits for a member that is
// down to catch up.
func TestALeaderThatIsStuckEnds(t *testing.T) {
	t.Parallel()
	var fast atomic.Bool
	var ahead atomic.Int64
	begun := time.Now()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Clock = func() time.Duration {
			if fast.Load() {
				ahead.Add(int64(100 * time.Millisecond))
			}
			return time.Since(begun) + time.Duration(ahead.Load()) + time.Hour
		}
	}})
	ctx, cancel := context.WithCancel(patience(t))
	defer cancel()
	leader, down := c.Leader(), c.Follower()
	c.Stop(down)
	if _, err := leader.Propose(ctx, []byte("k=1")); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	fast.Store(true)
	asking.Go(func() {
		for ctx.Err() == nil {
			_ = leader.TransferLeadershipTo(ctx, down.ID) // it gives up after an election timeout
		}
	})
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, _ = leader.Propose(ctx, []byte("k=2"))
			}
		})
	}
	select {
	case err := <-leader.Fatal:
		if !strings.Contains(err.Error(), "restart the node") {
			t.Errorf("it ends with: %v", err)
		}
	case <-ctx.Done():
		t.Error("it goes on")
	}
}
