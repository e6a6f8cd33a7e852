package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/transport"
)

// TestPromotion: a newcomer replicates at once and gets a vote only when the
// server agrees.
func TestPromotion(t *testing.T) {
	t.Parallel()
	var agreed atomic.Bool
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, Configure: func(cfg *cluster.Config) {
		cfg.Promotable = func(nodeID string) bool { return nodeID == "node-2" && agreed.Load() }
	}})
	second := c.Add()
	c.Join(second)
	if _, err := second.Propose(patience(t), []byte("k=1")); err != nil {
		t.Fatalf("proposing by way of a non-voter: %v", err)
	}
	if value(second, "k") != "1" {
		t.Fatal("the non-voter does not replicate")
	}
	members, err := c.Leader().Members(patience(t))
	if err != nil || len(members) != 2 || members[1] != (cluster.Member{ID: "node-2", Address: second.Address}) {
		t.Fatalf("members %+v, %v", members, err)
	}
	agreed.Store(true)
	c.WaitVoters(2)
}

// TestANewcomerThatHangs: while the server waits for one to say whether it may get
// a vote, the leader loses its office, gets it back and can serve as such at once.
func TestANewcomerThatHangs(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan string, 1), make(chan struct{})
	c := clustertest.Start(t, clustertest.Options{Nodes: 2, Configure: func(cfg *cluster.Config) {
		cfg.Promotable = func(nodeID string) bool {
			if nodeID == "node-3" {
				select {
				case asked <- cfg.NodeID:
				default:
				}
				<-answer
			}
			return true
		}
	}})
	t.Cleanup(func() { close(answer) })
	c.Join(c.Add())
	leader := c.Leader()
	if by := <-asked; by != leader.ID {
		t.Fatalf("%s asks, while %s leads: this test tests nothing", by, leader.ID)
	}
	for _, m := range []*clustertest.Member{leader, c.Follower()} {
		if err := m.TransferLeadership(patience(t)); err != nil {
			t.Fatalf("%s hands leadership on: %v", m.ID, err)
		}
		c.Eventually("a leader other than "+m.ID, func() bool { return c.Leader() != m })
	}
}

// TestDeadVoter: a voter that was replaced and stays away loses its vote, so that
// another one may fail; it gets a vote again when it is back.
func TestDeadVoter(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 4, Configure: func(cfg *cluster.Config) { cfg.Timing.Dead = time.Second }})
	dead := c.Follower()
	c.Stop(dead)
	c.Eventually("three voters, without the dead one", func() bool {
		members, err := c.Leader().Members(patience(t))
		voters := 0
		for _, m := range members {
			if m.Voter {
				voters++
			}
			if m.ID == dead.ID && m.Voter {
				return false
			}
		}
		return err == nil && voters == 3
	})
	c.Stop(c.Follower()) // two of three are a majority; of four they were none
	if _, err := c.Leader().Propose(patience(t), []byte("k=1")); err != nil {
		t.Fatalf("proposing with two of three voters: %v", err)
	}
	for _, m := range c.Members {
		c.Restart(m)
	}
	c.WaitVoters(4)
}

// TestNoMajorityLeft: with one of three away, no other can be taken out, and the
// one that is away can; all goes on meanwhile.
func TestNoMajorityLeft(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	away := c.Follower()
	c.Stop(away)
	for _, m := range c.Members {
		if m == away {
			continue
		}
		c.Eventually("the removal of "+m.ID+" to be refused", func() bool {
			err := c.Leader().MajorityWithout(patience(t), m.ID)
			return errors.Is(err, cluster.ErrMajority) && strings.Contains(err.Error(), "only 1 of 2 voters would answer, which is no majority: bring others back first")
		})
	}
	if err := c.Leader().MajorityWithout(patience(t), away.ID); err != nil {
		t.Errorf("without the one that is away: %v", err)
	}
	if _, err := c.Leader().Propose(patience(t), []byte("on=and on")); err != nil {
		t.Errorf("a write: %v", err)
	}
}

// TestRemove: a removed node is told and stops; the others go on.
func TestRemove(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: steady})
	leader, leaving := c.Leader(), c.Follower()
	ctx := patience(t)
	if err := leader.Remove(ctx, leaving.ID); err != nil {
		t.Fatalf("removing: %v", err)
	}
	if err := <-leaving.Fatal; !errors.Is(err, cluster.ErrRemoved) {
		t.Fatalf("the removed node was told %v", err)
	}
	c.Stop(leaving)
	if err := leader.Remove(ctx, leaving.ID); err != nil {
		t.Fatalf("removing again: %v", err)
	}
	// The leader removes itself; who is left is the last voter.
	if err := leader.Remove(ctx, leader.ID); err != nil {
		t.Fatalf("removing the leader: %v", err)
	}
	if err := <-leader.Fatal; !errors.Is(err, cluster.ErrRemoved) {
		t.Fatalf("the removed leader was told %v", err)
	}
	c.Stop(leader)
	last := c.Leader()
	if _, err := last.Propose(ctx, []byte("k=1")); err != nil {
		t.Fatalf("proposing: %v", err)
	}
	if err := last.Remove(ctx, last.ID); !errors.Is(err, cluster.ErrNotDone) {
		t.Fatalf("removing the last voter: %v", err)
	}
}

// TestMayPropose: a member that only replicates changes nothing.
func TestMayPropose(t *testing.T) {
	t.Parallel()
	var trusted atomic.Bool
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.MayPropose = func(string) bool { return trusted.Load() }
	}})
	follower := c.Follower()
	if _, err := follower.Propose(patience(t), []byte("k=1")); !errors.Is(err, cluster.ErrNotDone) || errors.Is(err, cluster.ErrNoLeader) {
		t.Fatalf("proposing without leave: %v", err)
	}
	if _, err := c.Leader().Propose(patience(t), []byte("k=2")); err != nil {
		t.Fatalf("the leader's own command: %v", err)
	}
	trusted.Store(true)
	if _, err := follower.Propose(patience(t), []byte("k=3")); err != nil {
		t.Fatalf("proposing with leave: %v", err)
	}
}

// TestLeaderOnly: followers name the leader; leadership moves on demand.
func TestLeaderOnly(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	leader, follower := c.Leader(), c.Follower()
	ctx := patience(t)
	f := func(err error) {
		t.Helper()
		var not *cluster.NotLeaderError
		if !errors.As(err, &not) || not.Leader != leader.ID || !errors.Is(err, cluster.ErrNotLeader) || !errors.Is(err, cluster.ErrNotDone) {
			t.Fatalf("got %v, want that %s leads", err, leader.ID)
		}
	}
	f(follower.AddNonvoter(ctx, "node-9", "127.0.0.1:9"))
	f(follower.Remove(ctx, leader.ID))
	f(follower.TransferLeadership(ctx))
	if err := leader.AddNonvoter(ctx, "node-9", follower.Address); !errors.Is(err, cluster.ErrNotDone) {
		t.Fatalf("an address used twice: %v", err)
	}
	if err := leader.TransferLeadership(ctx); err != nil {
		t.Fatalf("handing leadership on: %v", err)
	}
	c.Eventually("another leader", func() bool { id, known := leader.Leader(); return known && id != leader.ID })
	if _, err := leader.Propose(ctx, []byte("k=1")); err != nil {
		t.Fatalf("proposing by way of the former leader: %v", err)
	}
}

// TestCalls: who calls is known, errors keep their kind, and the leader is found.
func TestCalls(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	for _, m := range c.Members {
		m.Handle("echo", func(_ context.Context, peer string, body []byte) ([]byte, error) {
			return []byte(peer + ":" + string(body)), nil
		})
		m.Handle("typed", func(context.Context, string, []byte) ([]byte, error) {
			return nil, &cluster.RemoteError{Code: "teapot", Message: "short and stout"}
		})
		m.Handle("secret", func(context.Context, string, []byte) ([]byte, error) {
			return nil, errors.New("the password is swordfish")
		})
		m.Handle("leader", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			if !m.IsLeader() {
				return nil, &cluster.NotLeaderError{}
			}
			return []byte(m.ID), nil
		})
	}
	for _, from := range c.Members {
		for _, to := range c.Members {
			if reply, err := from.Call(ctx, to.ID, "echo", []byte("hi")); err != nil || string(reply) != from.ID+":hi" {
				t.Fatalf("%s to %s: %q, %v", from.ID, to.ID, reply, err)
			}
			_, err := from.Call(ctx, to.ID, "typed", nil)
			var remote *cluster.RemoteError
			if !errors.As(err, &remote) || remote.Code != "teapot" || remote.Message != "short and stout" {
				t.Fatalf("%s to %s: %v", from.ID, to.ID, err)
			}
			if _, err := from.Call(ctx, to.ID, "secret", nil); err == nil || strings.Contains(err.Error(), "swordfish") {
				t.Fatalf("%s to %s: %v", from.ID, to.ID, err)
			}
			if _, err := from.Call(ctx, to.ID, "nothing", nil); !errors.Is(err, cluster.ErrNotDone) {
				t.Fatalf("an unknown method: %v", err)
			}
		}
		if reply, err := from.CallLeader(ctx, "leader", nil); err != nil || string(reply) != c.Leader().ID {
			t.Fatalf("calling the leader: %q, %v", reply, err)
		}
		if _, err := from.Call(ctx, "nobody", "echo", nil); !errors.Is(err, cluster.ErrUnreachable) {
			t.Fatalf("calling nobody: %v", err)
		}
	}
	gone := c.Follower()
	c.Stop(gone)
	if _, err := c.Leader().Call(ctx, gone.ID, "echo", nil); !errors.Is(err, cluster.ErrNotDone) && !errors.Is(err, cluster.ErrOutcomeUnknown) {
		t.Fatalf("calling a node that is down: %v", err)
	}
}

// TestJoinPort: whoever has the pin may ask, and the answer is the server's.
func TestJoinPort(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	m := c.Members[0]
	m.HandleJoin(func(_ context.Context, remote string, body []byte) ([]byte, error) {
		if string(body) != "please" {
			return nil, &cluster.RemoteError{Code: "token", Message: "this token has been used"}
		}
		return []byte("welcome"), nil
	})
	reply, err := transport.Join(patience(t), []string{m.Address}, c.CA.PublicKeyHash, []byte("please"))
	if err != nil || string(reply) != "welcome" {
		t.Fatalf("joining: %q, %v", reply, err)
	}
	if _, err := transport.Join(patience(t), []string{m.Address}, c.CA.PublicKeyHash, []byte("again")); err == nil || err.Error() != "this token has been used" {
		t.Fatalf("joining with a used token: %v", err)
	}
}

// TestGossip: members find one another in the gossip by themselves.
func TestGossip(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	for _, m := range c.Members {
		c.Eventually(m.ID+" to see two peers", func() bool {
			peers := m.Status().Peers
			return len(peers) == 2 && peers[0].ClusterAddress != "" && peers[1].ClusterAddress != ""
		})
	}
}

// TestGossipIsCutOff: a node that hears no gossip for so long that all others have
// forgotten it, and it them, serves on, and is found again when it hears it.
func TestGossipIsCutOff(t *testing.T) {
	t.Parallel()
	const pace = 20 * time.Millisecond // of gossip, which forgets what has been dead for 30 of it
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) { cfg.Timing.Gossip = pace }})
	see := func(m *clustertest.Member, peers int) {
		t.Helper()
		c.Eventually(fmt.Sprintf("%s to see %d peers", m.ID, peers), func() bool { return len(m.Status().Peers) == peers })
	}
	for _, m := range c.Members {
		see(m, 2)
	}
	apart := c.Follower()
	key, other := make([]byte, membership.KeySize), bytes.Repeat([]byte{1}, membership.KeySize)
	for range 2 { // gossip that has healed once can be cut off again
		if err := apart.SetGossipKeys(other, nil); err != nil { // as deaf and dumb as behind a firewall
			t.Fatal(err)
		}
		for _, m := range c.Members {
			see(m, map[bool]int{true: 0, false: 1}[m == apart])
		}
		for end := time.Now().Add(60 * pace); time.Now().Before(end); time.Sleep(pace) {
			if !apart.Serving() {
				t.Fatal("a node without gossip does not serve")
			}
		}
		if _, err := apart.Propose(patience(t), []byte("without=gossip")); err != nil {
			t.Errorf("a write by way of the node without gossip: %v", err)
		}
		if peers := len(apart.Status().Peers); peers != 0 {
			t.Fatalf("%d peers are seen by a node that nothing reaches: this test tests nothing", peers)
		}
		if err := apart.SetGossipKeys(key, nil); err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Members {
			see(m, 2)
		}
	}
}
