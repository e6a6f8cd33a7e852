package cluster_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// TestBarrierSeesAcknowledgedWrites: a write acknowledged by one node is seen
// by a barrier and a read on any other, by either way to find a read point.
func TestBarrierSeesAcknowledgedWrites(t *testing.T) {
	t.Parallel()
	for name, reads := range map[string]cluster.Reads{"read index": cluster.ReadIndex, "log mark": cluster.LogMark} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) { cfg.Reads = reads }})
			ctx := patience(t)
			for i := range 150 {
				writer, reader := c.Members[i%3], c.Members[(i+1+i/3%2)%3]
				want := fmt.Sprint(i)
				committed, err := writer.Propose(ctx, []byte("k="+want))
				if err != nil {
					t.Fatalf("proposing: %v", err)
				}
				index, err := reader.Barrier(ctx)
				if err != nil {
					t.Fatalf("barrier: %v", err)
				}
				if index < committed.Index {
					t.Fatalf("read point %d is before the write at %d", index, committed.Index)
				}
				if got := value(reader, "k"); got != want {
					t.Fatalf("%s read %q after %q was acknowledged by %s", reader.ID, got, want, writer.ID)
				}
			}
		})
	}
}

// TestBarriersShareRounds: who waits at the same time shares a round, on a
// follower and at the leader, and nothing is written.
func TestBarriersShareRounds(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	const callers = 1000
	for range 5 {
		leader := c.Leader()
		before := leader.Status()
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				if _, err := c.Members[i%3].Barrier(ctx); err != nil {
					t.Errorf("barrier: %v", err)
				}
			})
		}
		wg.Wait()
		after := leader.Status()
		if after.Term != before.Term {
			continue // another leader, another count
		}
		if rounds := after.ReadRounds - before.ReadRounds; rounds == 0 || rounds > callers/10 {
			t.Fatalf("%d concurrent barriers took %d rounds", callers, rounds)
		}
		if asks := after.Asks - before.Asks; asks == 0 || asks > 2*callers/10 {
			t.Fatalf("%d concurrent barriers sent %d heartbeats", callers, asks)
		}
		if after.LastIndex != before.LastIndex {
			t.Fatalf("the log has grown from %d to %d", before.LastIndex, after.LastIndex)
		}
		return
	}
	t.Fatal("no leader stayed for a thousand barriers")
}

// TestBarrierThroughLeaderChanges: while leadership moves all the time, between
// leaders that find read points in either way, whatever was acknowledged by any
// node is read on any other.
func TestBarrierThroughLeaderChanges(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		if cfg.NodeID == "node-1" {
			cfg.Reads = cluster.LogMark
		}
	}})
	ctx := patience(t)
	began := time.Now()
	var acknowledged, reads, transfers atomic.Int64
	tells := func() bool { return transfers.Load() >= 3 && acknowledged.Load() >= 3 && reads.Load() >= 10 }
	// A machine that is busy otherwise takes longer to get that far.
	goOn := func() bool {
		return time.Since(began) < 3*time.Second || !tells() && ctx.Err() == nil && !t.Failed()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := int64(1); goOn(); {
			if _, err := c.Members[i%3].Propose(ctx, fmt.Appendf(nil, "k=%d", i)); err == nil {
				acknowledged.Store(i)
				i++
			} else if kind(t, err) == cluster.ErrOutcomeUnknown {
				i++ // it may come yet; the next value is higher
			}
		}
	})
	for _, reader := range c.Members {
		wg.Go(func() {
			for goOn() {
				floor := acknowledged.Load()
				if _, err := reader.Barrier(ctx); err != nil {
					t.Errorf("barrier on %s: %v", reader.ID, err)
					return
				}
				reads.Add(1)
				if got, _ := strconv.ParseInt(value(reader, "k"), 10, 64); got < floor {
					t.Errorf("%s read %d after %d was acknowledged", reader.ID, got, floor)
					return
				}
			}
		})
	}
	for goOn() {
		if err := c.Leader().TransferLeadership(ctx); err == nil {
			transfers.Add(1)
		}
		time.Sleep(100 * time.Millisecond)
	}
	wg.Wait()
	if !tells() {
		t.Fatalf("too little to tell: %d transfers, %d writes, %d reads", transfers.Load(), acknowledged.Load(), reads.Load())
	}
}

// TestBarrierBehindMarks: the commit index may be that of an entry without a
// command, a change of members or the first entries of a leader; nodes come to
// it all the same, one with a snapshot too.
func TestBarrierBehindMarks(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.SnapshotThreshold = 4
		cfg.TrailingLogs = cluster.NoTrailingLogs
	}})
	ctx := patience(t)
	if _, err := c.Leader().Propose(ctx, []byte("k=1")); err != nil {
		t.Fatalf("proposing: %v", err)
	}
	all := func(what string, atLeast uint64) {
		t.Helper()
		for _, m := range c.Members {
			index, err := m.Barrier(ctx)
			if err != nil || index < atLeast {
				t.Fatalf("%s: barrier on %s: %d, %v", what, m.ID, index, err)
			}
			if applied := m.Machine.AppliedIndex(); applied < index || value(m, "k") != "1" {
				t.Fatalf("%s: %s is at %d, its read point was %d", what, m.ID, applied, index)
			}
		}
	}
	for range 5 {
		leader := c.Leader()
		if err := leader.AddNonvoter(ctx, "node-9", "127.0.0.1:9"); err != nil {
			t.Fatalf("adding a node: %v", err)
		}
		all("a new member", leader.Status().Commit)
		if err := leader.Remove(ctx, "node-9"); err != nil {
			t.Fatalf("removing a node: %v", err)
		}
		all("a lost member", leader.Status().Commit)
	}
	if err := c.Leader().TransferLeadership(ctx); err != nil {
		t.Fatalf("handing leadership on: %v", err)
	}
	all("a new leader", 0)
	for _, m := range c.Members {
		c.Restart(m)
	}
	all("a restart", 0)
	newcomer := c.Add()
	c.Join(newcomer)
	all("a newcomer", 0)
	if newcomer.Machine.(*clustertest.Machine).Restored() == 0 {
		t.Fatal("the newcomer was not given a snapshot")
	}
}
