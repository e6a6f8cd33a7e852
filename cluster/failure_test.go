package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// kind fails the test unless the error is exactly one of the two kinds.
func kind(t *testing.T, err error) error {
	t.Helper()
	notDone, unknown := errors.Is(err, cluster.ErrNotDone), errors.Is(err, cluster.ErrOutcomeUnknown)
	switch {
	case notDone && !unknown:
		return cluster.ErrNotDone
	case unknown && !notDone:
		return cluster.ErrOutcomeUnknown
	}
	t.Fatalf("%v is neither or both of not done and outcome unknown", err)
	return nil
}

// TestLeaderLost: proposals go on through the loss of the leader; what was said
// to be not done never appears, what was acknowledged is everywhere.
func TestLeaderLost(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	survivor := c.Follower()
	stop := make(chan struct{})
	type result struct {
		key string
		err error
	}
	results := make(chan []result)
	go func() {
		var all []result
		for i := 0; ; i++ {
			select {
			case <-stop:
				results <- all
				return
			default:
			}
			key := fmt.Sprintf("k%d", i)
			_, err := survivor.Propose(ctx, []byte(key+"=1"))
			all = append(all, result{key, err})
		}
	}()
	c.Stop(c.Leader())
	c.Leader()
	if _, err := survivor.Propose(ctx, []byte("after=1")); err != nil {
		t.Fatalf("proposing to the new leader: %v", err)
	}
	close(stop)
	all := <-results
	if _, err := survivor.Barrier(ctx); err != nil {
		t.Fatalf("barrier: %v", err)
	}
	acknowledged := 0
	for _, r := range all {
		applied := value(survivor, r.key) != ""
		switch {
		case r.err == nil:
			acknowledged++
			if !applied {
				t.Errorf("%s was acknowledged and is lost", r.key)
			}
		case kind(t, r.err) == cluster.ErrNotDone && applied:
			t.Errorf("%s was said to be not done (%v) and is applied", r.key, r.err)
		}
	}
	if acknowledged == 0 {
		t.Fatal("no proposal was acknowledged")
	}
}

// TestNoMajority: without a majority a proposal ends with its context, and says
// whether it is in a log.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	leader := c.Leader()
	first := make(chan error)
	go func() { // one is always on its way when the majority goes, and stays in the log
		for {
			if _, err := leader.Propose(patience(t), []byte("lost=1")); err != nil {
				first <- err
				return
			}
		}
	}()
	for _, m := range c.Members {
		if m != leader {
			c.Stop(m)
		}
	}
	if err := <-first; kind(t, err) != cluster.ErrOutcomeUnknown {
		t.Fatalf("got %v, want an unknown outcome", err)
	}
	c.Eventually("the leader to step down", func() bool { _, known := leader.Leader(); return !known })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := leader.Propose(ctx, []byte("never=1")); !errors.Is(err, cluster.ErrNoLeader) || kind(t, err) != cluster.ErrNotDone || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want no leader within the deadline", err)
	}
	if _, err := leader.Barrier(ctx); !errors.Is(err, cluster.ErrNoLeader) {
		t.Fatalf("barrier: got %v, want no leader", err)
	}
	for _, m := range c.Members {
		if m != leader {
			c.Restart(m)
		}
	}
	c.Leader()
	if _, err := leader.Propose(patience(t), []byte("again=1")); err != nil {
		t.Fatalf("with a majority again: %v", err)
	}
	if value(leader, "never") != "" {
		t.Fatal("a command that was not done is applied")
	}
}

// TestApplyFails: an error of the state machine stops the node, and only it.
func TestApplyFails(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	broken := c.Leader()
	broken.Machine.(*clustertest.Machine).FailWith(errors.New("a poisoned command"))
	_, err := broken.Propose(patience(t), []byte("x=1"))
	if kind(t, err) != cluster.ErrOutcomeUnknown {
		t.Fatalf("got %v, want an unknown outcome", err)
	}
	if err := <-broken.Fatal; !strings.Contains(err.Error(), "a poisoned command") {
		t.Fatalf("fatal error %v", err)
	}
	if _, err := broken.Propose(patience(t), []byte("y=1")); !errors.Is(err, cluster.ErrStopped) {
		t.Fatalf("got %v, want stopped", err)
	}
	if _, err := broken.Barrier(patience(t)); !errors.Is(err, cluster.ErrStopped) {
		t.Fatalf("barrier: got %v, want stopped", err)
	}
	c.Stop(broken)
	other := c.Leader()
	if _, err := other.Propose(patience(t), []byte("z=1")); err != nil {
		t.Fatalf("proposing without the broken node: %v", err)
	}
	if value(other, "x") != "1" {
		t.Fatal("the command whose outcome was unknown was committed and is not applied")
	}
}

// TestPrepare: the leader prepares a command exactly once, wherever it was
// proposed, and may refuse it.
func TestPrepare(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		node := cfg.NodeID
		cfg.Prepare = func(data []byte, leaderTime time.Time) ([]byte, error) {
			if leaderTime.IsZero() {
				return nil, errors.New("no time")
			}
			if string(data) == "bad" {
				return nil, &cluster.RemoteError{Code: "bad_command", Message: "not like that"}
			}
			return append(data, "+"+node...), nil
		}
	}})
	ctx := patience(t)
	for _, m := range c.Members {
		if _, err := m.Propose(ctx, []byte("k=1")); err != nil {
			t.Fatalf("proposing by way of %s: %v", m.ID, err)
		}
		if got, want := value(m, "k"), "1+"+c.Leader().ID; got != want {
			t.Fatalf("by way of %s: %q, want %q", m.ID, got, want)
		}
		_, err := m.Propose(ctx, []byte("bad"))
		var refusal *cluster.RemoteError
		if kind(t, err) != cluster.ErrNotDone || !errors.As(err, &refusal) || refusal.Code != "bad_command" {
			t.Fatalf("by way of %s: got %v, want the refusal", m.ID, err)
		}
	}
}

// TestCommandSize: what Raft should not carry is refused before it is tried.
func TestCommandSize(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	m := c.Members[0]
	f := func(size int, want error) {
		t.Helper()
		if _, err := m.Propose(patience(t), make([]byte, size)); !errors.Is(err, want) {
			t.Fatalf("%d bytes: got %v, want %v", size, err, want)
		}
	}
	f(0, cluster.ErrNotDone)
	f(1, nil)
	f(cluster.MaxCommand, nil)
	f(cluster.MaxCommand+1, cluster.ErrTooLarge)
}

// TestALeaderThatCannotTakeOver: a node that was elected, and does not come to
// apply what was committed before it, hands leadership on, and the cluster goes
// on without it.
func TestALeaderThatCannotTakeOver(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) { cfg.Timing.TakeOver = 500 * time.Millisecond }})
	ctx := patience(t)
	hung := c.Follower()
	resume := sync.OnceFunc(hung.Machine.(*clustertest.Machine).Stall())
	t.Cleanup(resume) // before the nodes are stopped
	if _, err := c.Leader().Propose(ctx, []byte("before=1")); err != nil {
		t.Fatal(err)
	}
	elected := false
	c.Eventually(hung.ID+" to be elected", func() bool {
		for _, m := range c.Members {
			if m.IsLeader() {
				_ = m.TransferLeadershipTo(ctx, hung.ID) // asked again if it does not succeed
			}
			if leader, _ := m.Leader(); leader == hung.ID {
				elected = true
			}
		}
		return elected
	})
	if hung.IsLeader() {
		t.Fatal("it leads without having applied what was committed before it")
	}
	c.Eventually("another leader, and a write", func() bool {
		m := c.Leader()
		_, err := m.Propose(ctx, []byte("after=1"))
		return m != hung && err == nil
	})
	resume()
	c.Eventually("the node that hung to catch up", func() bool { return hung.Machine.(*clustertest.Machine).Value("after") == "1" })
	if len(hung.Fatal) > 0 {
		t.Errorf("it has ended: %v", <-hung.Fatal)
	}
}
