package cluster_test

import (
	"errors"
	"fmt"
	"strings"
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

// TestLeaderWithAWrongClock: it does no timed work, stamps nothing with a time
// that the others have not reached, and hands leadership on.
func TestLeaderWithAWrongClock(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		if cfg.NodeID == "node-1" {
			cfg.Now = func() time.Time { return time.Now().Add(365 * 24 * time.Hour) }
		}
	}})
	c.Eventually("another leader", func() bool { m := c.Leader(); return m.ID != "node-1" })
	c.Eventually("timed work", func() bool { allowed, _ := c.Leader().TimedWork(); return allowed })
	if allowed, why := c.Members[0].TimedWork(); allowed || !strings.Contains(why, "lead") {
		t.Errorf("timed work on a follower: %v, %q", allowed, why)
	}
	if ahead := time.Until(c.Leader().Node.Now()); ahead > time.Second {
		t.Errorf("the cluster's time is %s ahead", ahead)
	}
}
