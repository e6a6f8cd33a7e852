package cluster_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// Whatever a member says is released, which every fence stands on, nobody takes
// more for it than there is.
func TestAMemberReleasesNothing(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: steady})
	ctx := patience(t)
	serving(t, c, c.Members...)
	leader, followers := c.Leader(), c.Followers()
	follower, third := followers[0], followers[1]
	// Term, incarnation, applied, released, clock, and twice an index, a version and
	// a hash of a state.
	ask := append(words(leader.Status().Term, 7, 0, math.MaxUint64, uint64(time.Now().UnixMilli())), make([]byte, 2*(8+4+32))...)
	if _, err := follower.Call(ctx, leader.ID, "cluster.lease", ask); err != nil {
		t.Errorf("asking for a lease: %v", err)
	}
	var notLeader *cluster.NotLeaderError
	if _, err := follower.Call(ctx, third.ID, "cluster.fence", words(leader.Status().Term, 1, math.MaxUint64)); !errors.As(err, &notLeader) {
		t.Errorf("a fence of a node that does not lead: %v", err)
	}
	var refused *cluster.RemoteError
	if _, err := follower.Call(ctx, leader.ID, "cluster.released", words(math.MaxUint64)); !errors.As(err, &refused) || refused.Code != "invalid" {
		t.Errorf("waiting for what nobody has written: %v", err)
	}
	for _, m := range c.Members {
		c.Eventually("another lease of "+m.ID, func() bool { return m.Lease().Renewals > 0 && m.Serving() })
		if released, last := m.Lease().Released, leader.Status().LastIndex; released > last {
			t.Errorf("%s takes %d for released, of %d", m.ID, released, last)
		}
	}
}

// Who only replicates is not believed about what others have stopped to answer
// from: a fence waits for a member that is silent, whatever a standby says.
func TestAStandbyReleasesNothing(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		steady(cfg)
		cfg.Promotable = func(nodeID string) bool { return nodeID != "node-4" }
	}})
	standby := c.Add()
	c.Join(standby)
	ctx := patience(t)
	serving(t, c, c.Members...)
	leader, silent := c.Leader(), c.Follower()
	c.Stop(silent)
	fenced := make(chan error, 1)
	begun := time.Now()
	go func() {
		committed, err := leader.Propose(ctx, []byte("!k=1"))
		if err == nil {
			err = leader.Released(ctx, committed.Index)
		}
		fenced <- err
	}()
	for over := false; !over; {
		ask := append(words(leader.Status().Term, 7, 0, leader.Status().LastIndex, uint64(time.Now().UnixMilli())), make([]byte, 2*(8+4+32))...)
		if _, err := standby.Call(ctx, leader.ID, "cluster.lease", ask); err != nil {
			t.Errorf("asking for a lease: %v", err)
		}
		select {
		case err := <-fenced:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("a fence was over after %s, while a member held a lease", took)
	}
}

// words is the form of a message of fixed sizes.
func words(all ...uint64) (body []byte) {
	for _, word := range all {
		body = binary.BigEndian.AppendUint64(body, word)
	}
	return body
}

// A member whose leases were waited for in one term, and which has one of the next,
// is not removed.
func TestARemovalEndsWithItsTerm(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: steady})
	ctx := patience(t)
	serving(t, c, c.Members...)
	leader, followers := c.Leader(), c.Followers()
	leaving, other := followers[0], followers[1]
	term := leader.Status().Term
	removed := make(chan error, 1)
	go func() { removed <- leader.Remove(ctx, leaving.ID) }()
	refused := leaving.Lease().Failures
	c.Eventually("a renewal that is refused", func() bool { return leaving.Lease().Failures > refused })
	c.Eventually("another leader", func() bool {
		_ = leader.TransferLeadershipTo(ctx, other.ID)
		return other.IsLeader()
	})
	c.Eventually("the first leader again", func() bool {
		_ = other.TransferLeadershipTo(ctx, leader.ID)
		return leader.IsLeader() && leader.Status().Term > term
	})
	serving(t, c, leaving)
	if err := <-removed; err == nil {
		t.Errorf("it was removed; it serves: %t", leaving.Serving())
	} else if !errors.Is(err, cluster.ErrNotDone) {
		t.Errorf("not being removed: %v", err)
	}
}

// No leader has a node serve for longer than leases may last by the node's own
// configuration.
func TestALeaseIsNoLongerThanLeasesAre(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 2, Configure: func(cfg *cluster.Config) {
		steady(cfg)
		if cfg.NodeID == "node-1" { // which leads
			cfg.Timing.Lease = time.Hour
		}
	}})
	follower := c.Follower()
	serving(t, c, follower)
	if left := follower.Lease().Left; follower.ID == "node-1" || left > 6*time.Second {
		t.Errorf("the lease of %s lasts another %s", follower.ID, left)
	}
}
