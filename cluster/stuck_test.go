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
		// Raft gives up after Election, and is asked once: with a second attempt it may
		// wait for the member for ever. Nor does it end before it has given up.
		cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease, cfg.Timing.Lease = 2*time.Second, 2*time.Second, 2*time.Second, 12*time.Second
		cfg.Clock = func() time.Duration {
			if fast.Load() {
				ahead.Add(int64(50 * time.Millisecond))
			}
			return time.Since(begun) + time.Duration(ahead.Load()) + time.Hour
		}
	}})
	whole := patience(t)
	ctx, cancel := context.WithCancel(whole)
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
	var handing sync.WaitGroup
	defer handing.Wait()
	handing.Go(func() { _ = leader.TransferLeadershipTo(whole, down.ID) })
	for range 8 {
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
