package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// staleTail stops all members but the leader, has its log grow by entries that
// nobody else gets, and stops it too.
func staleTail(t *testing.T, c *clustertest.Cluster, leader *clustertest.Member, others []*clustertest.Member, entries int, before func()) {
	t.Helper()
	for _, m := range others {
		c.Stop(m)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range entries {
		wg.Go(func() {
			if _, err := leader.Propose(ctx, fmt.Appendf(nil, "stale-%d=1", i)); !errors.Is(err, cluster.ErrOutcomeUnknown) {
				t.Errorf("a command that only a leader alone has: %v, want an unknown outcome", err)
			}
		})
	}
	wg.Wait()
	before()
	c.Stop(leader)
	for _, m := range others {
		c.Restart(m)
	}
}

func erase(t *testing.T, members ...*clustertest.Member) {
	t.Helper()
	for _, m := range members {
		if _, err := m.Barrier(patience(t)); err != nil {
			t.Fatalf("%s: %v", m.ID, err)
		}
		if err := m.Erase(patience(t)); err != nil {
			t.Fatalf("erasing on %s: %v", m.ID, err)
		}
	}
}

// TestErasedWithEntriesOfItsOwn: a leader that nobody follows any more has
// entries that nobody else has, and erases: nothing is left in its log before
// them. The next leader's entries take their place (hashicorp/raft#697), whether
// that one has erased too or not.
func TestErasedWithEntriesOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]bool{"one erased": false, "all erased": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clustertest.Start(t, clustertest.Options{Configure: steady})
			leader, others := c.Leader(), c.Followers()
			if _, err := leader.Propose(patience(t), []byte("k=old")); err != nil {
				t.Fatal(err)
			}
			staleTail(t, c, leader, others, 30, func() {
				if err := leader.Erase(patience(t)); err != nil {
					t.Errorf("erasing: %v", err)
				}
			})
			if _, err := c.Leader().Propose(patience(t), []byte("k=new")); err != nil {
				t.Fatal(err)
			}
			if all {
				erase(t, others...)
			}
			c.Restart(leader)
			if _, err := leader.Barrier(patience(t)); err != nil {
				t.Fatalf("it does not catch up: %v", err)
			}
			if value(leader, "k") != "new" || value(leader, "stale-0") != "" {
				t.Errorf("it holds k=%s and stale-0=%s", value(leader, "k"), value(leader, "stale-0"))
			}
		})
	}
}

// TestStaleEntriesEndWithASnapshot: who has taken a snapshot in the place of
// entries that nobody else had, and leads then, gives them to nobody.
func TestStaleEntriesEndWithASnapshot(t *testing.T) {
	t.Parallel()
	const stale = 100 // more than Raft sends at once
	c := clustertest.Start(t, clustertest.Options{Nodes: 5, Configure: steady})
	leader, others := c.Leader(), c.Followers()
	late := others[0]
	c.Stop(late)
	staleTail(t, c, leader, others[1:], stale, func() {})
	for i := range 10 {
		if _, err := c.Leader().Propose(patience(t), fmt.Appendf(nil, "k%d=new", i)); err != nil {
			t.Fatal(err)
		}
	}
	erase(t, others[1:]...)
	c.Restart(leader)
	if _, err := leader.Barrier(patience(t)); err != nil {
		t.Fatalf("the old leader does not catch up: %v", err)
	}
	c.Eventually("the old leader to lead again", func() bool {
		return leader.IsLeader() || c.Leader().TransferLeadershipTo(patience(t), leader.ID) == nil && leader.IsLeader()
	})
	c.Restart(late)
	if _, err := late.Barrier(patience(t)); err != nil {
		t.Fatalf("who was away longest does not catch up: %v", err)
	}
	for i := range stale {
		if key := fmt.Sprintf("stale-%d", i); value(late, key) != "" {
			t.Fatalf("%s, which nobody else has, is applied", key)
		}
	}
	for i := range 10 {
		if key := fmt.Sprintf("k%d", i); value(late, key) != "new" {
			t.Errorf("%s is lost", key)
		}
	}
}
