package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// TestDivergedNodeStops: the node whose state is not that of the other two
// stops, whoever it is, and nobody else does.
func TestDivergedNodeStops(t *testing.T) {
	t.Parallel()
	f := func(name string, pick func(*clustertest.Cluster) *clustertest.Member) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.Start(t, clustertest.Options{})
			ctx := patience(t)
			for i := range 600 { // past states that all have in common
				if _, err := c.Leader().Propose(ctx, fmt.Appendf(nil, "k=%d", i)); err != nil && kind(t, err) != cluster.ErrOutcomeUnknown {
					t.Fatal(err)
				}
			}
			serving(t, c, c.Members...)
			time.Sleep(600 * time.Millisecond)
			for _, m := range c.Members {
				if len(m.Fatal) > 0 {
					t.Fatalf("%s stopped although all are alike: %v", m.ID, <-m.Fatal)
				}
			}
			wrong := pick(c)
			wrong.Machine.(*clustertest.Machine).Corrupt("k", "corrupted")
			if _, err := c.Leader().Propose(ctx, []byte("l=1")); err != nil {
				t.Fatal(err)
			}
			c.Eventually(wrong.ID+" to stop", func() bool { return len(wrong.Fatal) > 0 })
			if err := <-wrong.Fatal; !errors.Is(err, cluster.ErrDiverged) {
				t.Errorf("it stopped with %v", err)
			}
			if wrong.Serving() {
				t.Error("it still serves")
			}
			for _, m := range c.Members {
				if m != wrong && len(m.Fatal) > 0 {
					t.Errorf("%s stopped, too: %v", m.ID, <-m.Fatal)
				}
			}
		})
	}
	f("a follower", (*clustertest.Cluster).Follower)
	f("the leader", (*clustertest.Cluster).Leader)
}

// TestLeaderWithAWrongClock: off by a minute or a year, it does no timed work,
// stamps nothing with a time that the others have not reached, says what to do,
// and hands leadership on; the others go on.
func TestLeaderWithAWrongClock(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for _, off := range []time.Duration{year, time.Minute, -time.Minute, -year} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			var wrong atomic.Bool
			c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
				if cfg.NodeID == "node-1" {
					cfg.Now = func() time.Time {
						if wrong.Load() {
							return time.Now().Add(off)
						}
						return time.Now()
					}
				}
			}})
			c.Eventually("the first node to do timed work", func() bool {
				if leader := c.Leader(); leader.ID != "node-1" {
					_ = leader.TransferLeadershipTo(patience(t), "node-1") // asked again if it does not succeed
				}
				allowed, _ := c.Members[0].TimedWork()
				return allowed
			})
			wrong.Store(true)
			var why string
			c.Eventually("its timed work to end", func() bool { // once the others have said what theirs show
				var allowed bool
				allowed, why = c.Members[0].TimedWork()
				return !allowed && !strings.Contains(why, "not known yet")
			})
			if !strings.Contains(why, "set it right") && !strings.Contains(why, "lead") {
				t.Errorf("no timed work: %q", why)
			}
			c.Eventually("another leader", func() bool { m := c.Leader(); return m.ID != "node-1" })
			c.Eventually("timed work", func() bool { allowed, _ := c.Leader().TimedWork(); return allowed })
			if allowed, why := c.Members[0].TimedWork(); allowed || !strings.Contains(why, "lead") {
				t.Errorf("timed work on a follower: %v, %q", allowed, why)
			}
			for _, m := range c.Members { // the wrong one too
				c.Eventually(m.ID+" to be told the time", func() bool { return time.Until(m.LeaderTime()).Abs() < 10*time.Second })
			}
			if by := time.Until(c.Leader().Node.Now()); by.Abs() > 10*time.Second {
				t.Errorf("the cluster's time is off by %s", by)
			}
			c.Eventually("a write", func() bool {
				_, err := c.Leader().Propose(patience(t), []byte("x=y"))
				return err == nil
			})
		})
	}
}

// TestAClockThatJumps: while one node's clock jumps a year ahead, between two
// words of the others and before it has heard them as a new leader, nothing is
// stamped with a time that they have not reached.
func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	const jumper = "node-2"
	var ahead atomic.Bool
	var stamped, furthest atomic.Int64
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		node := cfg.NodeID
		cfg.Now = func() time.Time {
			if node == jumper && ahead.Load() {
				return time.Now().Add(365 * 24 * time.Hour)
			}
			return time.Now()
		}
		cfg.Prepare = func(data []byte, leaderTime time.Time) ([]byte, error) {
			if node == jumper && ahead.Load() {
				stamped.Add(1)
			}
			furthest.Store(max(furthest.Load(), int64(time.Until(leaderTime))))
			return data, nil
		}
	}})
	for tries := 0; stamped.Load() < 5 && tries < 200; tries++ {
		leader := c.Leader()
		ahead.Store(tries%2 == 0)
		ctx, cancel := context.WithTimeout(patience(t), 10*time.Second)
		if leader.ID == jumper {
			ahead.Store(true)
		} else {
			_ = leader.TransferLeadership(ctx) // to either of the others
		}
		_, _ = leader.Propose(ctx, []byte("x")) // leadership may change meanwhile
		cancel()
		ahead.Store(false)
	}
	if by := time.Duration(furthest.Load()); by > time.Minute || stamped.Load() < 5 {
		t.Errorf("of %d commands that it has stamped one is %s ahead", stamped.Load(), by)
	}
}
