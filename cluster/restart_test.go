package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/membership"
)

// TestRestartAll: everything acknowledged is there after all nodes have been
// down, applied once.
func TestRestartAll(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	for i := range 30 {
		if _, err := c.Members[i%3].Propose(patience(t), fmt.Appendf(nil, "k%d=%d", i, i)); err != nil {
			t.Fatalf("proposing: %v", err)
		}
	}
	for _, m := range c.Members {
		c.Stop(m)
	}
	for _, m := range c.Members {
		c.Restart(m)
	}
	for _, m := range c.Members {
		if _, err := m.Barrier(patience(t)); err != nil {
			t.Fatalf("barrier on %s: %v", m.ID, err)
		}
		for i := range 30 {
			if got := value(m, fmt.Sprint("k", i)); got != fmt.Sprint(i) {
				t.Fatalf("%s lost k%d: %q", m.ID, i, got)
			}
		}
		if got := m.Machine.(*clustertest.Machine).Commands(); got != 30 {
			t.Fatalf("%s applied %d commands, want 30", m.ID, got)
		}
		if err := m.Bootstrap(patience(t)); !errors.Is(err, cluster.ErrHasState) {
			t.Fatalf("bootstrapping a cluster that exists: %v", err)
		}
	}
}

// TestSnapshotInstall: a newcomer and a node that was away get a snapshot where
// the log has been cut off, and the log behind it.
func TestSnapshotInstall(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.SnapshotThreshold = 20
		cfg.TrailingLogs = cluster.NoTrailingLogs
	}})
	away := c.Follower()
	c.Stop(away)
	again := uint64(0) // how often a busy machine lost its leader under a command
	for i := range 200 {
		_, err := c.Leader().Propose(patience(t), fmt.Appendf(nil, "k%d=%d", i%50, i))
		for errors.Is(err, cluster.ErrOutcomeUnknown) && again < 20 {
			again++
			_, err = c.Leader().Propose(patience(t), fmt.Appendf(nil, "k%d=%d", i%50, i))
		}
		if err != nil {
			t.Fatalf("proposing: %v", err)
		}
		if i%20 == 0 {
			time.Sleep(20 * time.Millisecond) // room for a snapshot now and then
		}
	}
	check := func(m *clustertest.Member) {
		t.Helper()
		if _, err := m.Barrier(patience(t)); err != nil {
			t.Fatalf("barrier on %s: %v", m.ID, err)
		}
		machine := m.Machine.(*clustertest.Machine)
		for i := range 50 {
			if got := machine.Value(fmt.Sprint("k", i)); got != fmt.Sprint(150+i) {
				t.Fatalf("%s has k%d = %q", m.ID, i, got)
			}
		}
		if got := machine.Commands(); got < 200 || got > 200+again {
			t.Fatalf("%s counts %d commands, want 200 and up to %d more", m.ID, got, again)
		}
		if machine.Restored() == 0 {
			t.Fatalf("%s was not given a snapshot", m.ID)
		}
	}
	c.Restart(away)
	check(away)
	newcomer := c.Add()
	c.Join(newcomer)
	check(newcomer)
	c.WaitVoters(4)
	// A snapshot on its own disk serves a node when it starts, too.
	c.Restart(newcomer)
	check(newcomer)
	// And it tells the state of a node that is stopped, with the log behind it.
	if _, err := c.Leader().Propose(patience(t), []byte("last=1")); err != nil {
		t.Fatal(err)
	}
	if _, err := newcomer.Barrier(patience(t)); err != nil {
		t.Fatal(err)
	}
	c.Stop(newcomer)
	replayed := clustertest.NewMachine()
	if _, err := cluster.Replay(filepath.Join(newcomer.DataDir, "raft"), replayed, nil); err != nil {
		t.Fatal(err)
	}
	if replayed.Value("last") != "1" || replayed.Value("k7") != "157" {
		t.Fatalf("replayed last=%q k7=%q", replayed.Value("last"), replayed.Value("k7"))
	}
}

// TestAddressesChange: nodes that come back under other addresses, one after the
// other until nobody is where the configuration says, are found again; a leader
// that is reached under an address it never had can be replaced, too.
func TestAddressesChange(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	written := func(m *clustertest.Member) string {
		text, err := os.ReadFile(filepath.Join(m.DataDir, "raft", "addresses.json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
	for i, m := range c.Members {
		old := m.Address
		for _, other := range c.Members { // what it has to know when it comes back
			c.Eventually(m.ID+" to write down where "+other.ID+" is", func() bool { return other == m || strings.Contains(written(m), other.Address) })
		}
		c.Move(m)
		if m.Address == old {
			t.Fatalf("%s is where it was", m.ID)
		}
		value := fmt.Sprint(i)
		c.Eventually("a write since "+m.ID+" moved", func() bool { // a leader may be lost meanwhile
			_, err := c.Leader().Propose(patience(t), []byte("moved="+value))
			return err == nil
		})
		for _, other := range c.Members {
			c.Eventually(other.ID+" to have what was written since", func() bool {
				return other.Machine.(*clustertest.Machine).Value("moved") == value && other.Serving()
			})
		}
	}
	before := c.Leader()
	c.Eventually("another leader", func() bool {
		if c.Leader() == before {
			_ = before.TransferLeadership(patience(t)) // asked again if it does not succeed
		}
		return c.Leader() != before
	})
	c.Eventually("a write through the former leader", func() bool {
		_, err := before.Propose(patience(t), []byte("moved=all"))
		return err == nil
	})
}

// TestACopyIsRefused: while a node runs, a copy of its data directory does not
// start anywhere else; when the node is gone, the copy is a node that has moved.
func TestACopyIsRefused(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	m := c.Members[0]
	c.Eventually("the node to write down where it is", func() bool {
		text, _ := os.ReadFile(filepath.Join(m.DataDir, "raft", "addresses.json"))
		return strings.Contains(string(text), m.Address)
	})
	c.Stop(m)
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(m.DataDir)); err != nil {
		t.Fatal(err)
	}
	start := func() error {
		n, err := cluster.Open(patience(t), cluster.Config{
			NodeID: m.ID, ClusterID: c.CA.ClusterID, DataDir: dir, Identity: c.CA.Identity(t, m.ID), ListenAddress: "127.0.0.1:0",
			Gossip: membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
			Timing: clustertest.Timing(), Fatal: func(error) {}, Logger: slog.New(slog.DiscardHandler),
		}, clustertest.NewMachine())
		if err != nil {
			return err
		}
		return n.Close(patience(t))
	}
	c.Restart(m)
	if err := start(); err == nil || !strings.Contains(err.Error(), "node node-1 runs at "+m.Address+" already") {
		t.Errorf("a copy beside its node: %v", err)
	}
	if _, err := m.Propose(patience(t), []byte("still=here")); err != nil {
		t.Errorf("the node does not go on: %v", err)
	}
	c.Stop(m)
	if err := start(); err != nil {
		t.Errorf("a node that was moved: %v", err)
	}
}

// TestRefusedToOpen: each mistake is one clear sentence.
func TestRefusedToOpen(t *testing.T) {
	t.Parallel()
	ours, theirs := clustertest.NewAuthority(t, "ours"), clustertest.NewAuthority(t, "theirs")
	dir := t.TempDir()
	base := func(ca clustertest.Authority, node string) cluster.Config {
		return cluster.Config{
			NodeID: node, ClusterID: ca.ClusterID, DataDir: dir, Identity: ca.Identity(t, node),
			ListenAddress: "127.0.0.1:0",
			Gossip:        membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, 32)},
			Timing:        clustertest.Timing(), Fatal: func(error) {}, Logger: slog.New(slog.DiscardHandler),
		}
	}
	open := func(cfg cluster.Config) error {
		n, err := cluster.Open(context.Background(), cfg, clustertest.NewMachine())
		if err == nil {
			t.Cleanup(func() {
				if err := n.Close(context.Background()); err != nil {
					t.Errorf("closing: %v", err)
				}
			})
		}
		return err
	}
	f := func(change func(*cluster.Config), want string) {
		t.Helper()
		cfg := base(ours, "a")
		change(&cfg)
		if err := open(cfg); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one sentence with %q", err, want)
		}
	}
	if err := open(base(ours, "a")); err != nil {
		t.Fatalf("opening: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()

	f(func(cfg *cluster.Config) {}, "in use by another process")
	f(func(cfg *cluster.Config) { cfg.DataDir = t.TempDir(); cfg.ListenAddress = busy }, "cluster port "+busy+" is in use")
	f(func(cfg *cluster.Config) { cfg.DataDir = t.TempDir(); cfg.Gossip.ListenAddress = busy }, "gossip port "+busy+" is in use")
	f(func(cfg *cluster.Config) { *cfg = base(theirs, "a") }, "belongs to cluster ours, not to theirs")
	f(func(cfg *cluster.Config) { *cfg = base(ours, "b") }, "belongs to node a, not to b")
	f(func(cfg *cluster.Config) { cfg.NodeID = "b" }, "certificate is that of node a")
	f(func(cfg *cluster.Config) { cfg.NodeID = "A!" }, "not a valid name")
	f(func(cfg *cluster.Config) { cfg.DataDir = t.TempDir(); cfg.ListenAddress = "0.0.0.0:0" }, "cannot be reached from other nodes")
	f(func(cfg *cluster.Config) { cfg.DataDir = t.TempDir(); cfg.Gossip.Key = make([]byte, 16) }, "16 bytes instead of 32")
}
