package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// serving waits until these nodes hold leases.
func serving(t *testing.T, c *clustertest.Cluster, members ...*clustertest.Member) {
	t.Helper()
	for _, m := range members {
		c.Eventually("a lease of "+m.ID, m.Serving)
	}
}

// TestLeasesSendNothing: a node that holds a lease looks at its clock, and
// nobody hears of it.
func TestLeasesSendNothing(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Timing.Lease, cfg.Timing.Renewal = 20*time.Second, 10*time.Second // none comes in between
	}})
	serving(t, c, c.Members...)
	time.Sleep(100 * time.Millisecond) // what a new leader has to say is said
	leader, follower := c.Leader(), c.Follower()
	calls, rounds, asks := follower.Status().Calls, leader.Status().ReadRounds, leader.Status().Asks
	for range 1000 {
		if !follower.Serving() {
			t.Fatal("the lease is gone")
		}
	}
	if after := follower.Status().Calls; after != calls {
		t.Errorf("%d calls to other nodes", after-calls)
	}
	if after := leader.Status(); after.ReadRounds != rounds || after.Asks != asks {
		t.Errorf("%d rounds and %d heartbeats for them", after.ReadRounds-rounds, after.Asks-asks)
	}
}

// TestFenceIsEverywhere: when a fenced command is acknowledged, no node that
// serves is without it, through changes of leaders.
func TestFenceIsEverywhere(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	serving(t, c, c.Members...)
	end := time.Now().Add(3 * time.Second)
	var wg sync.WaitGroup
	wg.Go(func() {
		for time.Now().Before(end) {
			time.Sleep(700 * time.Millisecond)
			c.Leader().TransferLeadership(ctx)
		}
	})
	var newest atomic.Int64
	looks, old := 0, 0
	for i := int64(1); time.Now().Before(end); i++ {
		m := c.Members[i%3]
		if _, err := m.Propose(ctx, fmt.Appendf(nil, "!k=%d", i)); err != nil {
			continue
		}
		newest.Store(i)
		for _, other := range c.Members {
			if other.Serving() {
				looks++
				var got int64
				fmt.Sscan(value(other, "k"), &got)
				if got < newest.Load() {
					old++
				}
			}
		}
	}
	wg.Wait()
	if old > 0 || looks < 30 {
		t.Fatalf("%d of %d looks at nodes that serve were old", old, looks)
	}
}

// busy is what a busy machine may add to the length of a lease, an election
// among it; a fence that waits for a node rather than for its lease takes as
// long as the test has patience.
const busy = clustertest.Patience / 3

// TestLeasesOutlastTheLeader: the other nodes serve on while the leader is
// replaced; a fence waits for the lease that the dead one may hold, and no longer.
func TestLeasesOutlastTheLeader(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	serving(t, c, c.Members...)
	leader, others := c.Leader(), c.Followers()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var gaps atomic.Int64
	for _, m := range others {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					if !m.Serving() {
						gaps.Add(1)
					}
				}
			}
		})
	}
	propose := func(command string) {
		t.Helper()
		for {
			_, err := others[0].Propose(ctx, []byte(command))
			if err == nil {
				return
			}
			if kind(t, err) != cluster.ErrOutcomeUnknown || ctx.Err() != nil {
				t.Fatalf("proposing: %v", err)
			}
		}
	}
	begun := time.Now()
	c.Stop(leader)
	propose("k=1")
	unfenced := time.Since(begun)
	propose("!k=2")
	fenced := time.Since(begun)
	close(stop)
	wg.Wait()
	if gaps.Load() > 0 {
		t.Errorf("the other nodes were found without a lease %d times", gaps.Load())
	}
	if fenced > unfenced+3*time.Second+busy {
		t.Errorf("the fence took %s, %s after writes went on", fenced, fenced-unfenced)
	}
	t.Logf("writes went on after %s, the fence was complete after %s", unfenced, fenced)
}

// TestFenceOfAStoppedNode: a node whose process is stopped is waited for as
// long as its lease lasts; what it answers when it goes on is not old.
func TestFenceOfAStoppedNode(t *testing.T) {
	t.Parallel()
	c := startTrio(t)
	leader := c.leader(3)
	stopped := c.nodes[0]
	if stopped == leader {
		stopped = c.nodes[1]
	}
	if _, err := leader.do("propose", "!k=1", "", clustertest.Patience); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(clustertest.Patience); ; time.Sleep(10 * time.Millisecond) {
		if got, err := stopped.do("serve", "k", "", time.Second); err == nil && got == "1" {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the node does not serve: %q, %v", got, err)
		}
	}
	stopped.cmd.Process.Signal(syscall.SIGSTOP)
	begun := time.Now()
	_, err := leader.do("propose", "!k=2", "", clustertest.Patience)
	took := time.Since(begun)
	late := stopped.ask(childRequest{Op: "serve", Arg: "k", Patience: 5 * time.Second}) // it is there when the process goes on
	stopped.cmd.Process.Signal(syscall.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	if took < time.Second || took > 3*time.Second+busy {
		t.Errorf("the fence took %s, want about one lease of 3s", took)
	}
	if got, err := late(); err == nil && got.Value == "1" {
		t.Errorf("the stopped node served %q after the fence", got.Value)
	} else if err != nil && !strings.Contains(err.Error(), "no lease") {
		t.Error(err)
	}
	t.Logf("the fence took %s", took)
}

// TestRemovedNodeServesNoMore: when a removal is acknowledged, the node holds
// no lease, although it could not be told.
func TestRemovedNodeServesNoMore(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	serving(t, c, c.Members...)
	follower := c.Follower()
	follower.Handle("cluster.removed", func(context.Context, string, []byte) ([]byte, error) {
		return nil, errors.New("it does not listen")
	})
	if err := c.Leader().Remove(ctx, follower.ID); err != nil {
		t.Fatal(err)
	}
	if follower.Serving() {
		t.Error("the removed node holds a lease")
	}
	select {
	case err := <-follower.Fatal:
		t.Errorf("it has heard of it: %v", err)
	default:
	}
}

// TestTimings: what would have nodes stop serving at every election is refused.
func TestTimings(t *testing.T) {
	f := func(want string, change func(*cluster.Timing)) {
		t.Helper()
		cfg := cluster.Config{NodeID: "node-1", ClusterID: "c", DataDir: t.TempDir()}
		change(&cfg.Timing)
		_, err := cluster.Open(t.Context(), cfg, clustertest.NewMachine())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	const tooShort, tooLittle, none = "make the lease longer", "clocks may run", "a node needs"
	f(none, func(*cluster.Timing) {})
	f(tooShort, func(t *cluster.Timing) { t.Lease = 2 * time.Second })
	f(tooShort, func(t *cluster.Timing) { t.Heartbeat = time.Second })
	f(tooShort, func(t *cluster.Timing) { t.Renewal = -1 })
	f(tooLittle, func(t *cluster.Timing) { t.Margin = 200 * time.Millisecond })
	f(none, func(t *cluster.Timing) { t.Lease, t.Heartbeat = 6*time.Second, time.Second })
}
