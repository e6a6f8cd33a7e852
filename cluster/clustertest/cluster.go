// Package clustertest runs whole clusters in one process, on loopback, with
// real TLS, real files and short timeouts. It is for tests only.
//
// What it promises: nothing is left behind; a test that cannot get its cluster
// ends with the reason.
package clustertest

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/transport"
)

// Patience is how long helpers wait for what must happen before they fail the
// test: far longer than it takes, even on a busy machine.
const Patience = 30 * time.Second

// Options say what cluster a test wants.
type Options struct {
	// Nodes is how many there are; three when zero.
	Nodes int
	// Machine makes a node's state machine; NewMachine when nil.
	Machine func() cluster.StateMachine
	// Configure changes a node's configuration before it is opened.
	Configure func(*cluster.Config)
}

// Cluster is a running cluster. Members are numbered from zero; "node-1" is
// number zero.
type Cluster struct {
	CA      Authority
	Members []*Member

	t    testing.TB
	opts Options
}

// Member is one node and what belongs to it.
type Member struct {
	*cluster.Node
	ID      string
	Address string
	Machine cluster.StateMachine
	Fatal   chan error // what Config.Fatal was told
	DataDir string     // where it keeps its log

	config  cluster.Config
	running bool
}

// Timing is short enough for tests and long enough for a busy machine.
func Timing() cluster.Timing {
	return cluster.Timing{
		Heartbeat:        400 * time.Millisecond,
		Election:         400 * time.Millisecond,
		LeaderLease:      300 * time.Millisecond,
		Commit:           20 * time.Millisecond,
		SnapshotInterval: 50 * time.Millisecond,
		Autopilot:        20 * time.Millisecond,
		Stable:           50 * time.Millisecond,
		Rejoin:           500 * time.Millisecond,
		Renewal:          250 * time.Millisecond,
	}
}

// Start starts a cluster: the first node bootstraps it, the others join as
// non-voters and get their votes from the leader.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	if opts.Nodes == 0 {
		opts.Nodes = 3
	}
	c := &Cluster{CA: NewAuthority(t, "test-cluster"), t: t, opts: opts}
	t.TempDir() // is removed after what is registered later has run: after the nodes have stopped
	t.Cleanup(c.stopAll)
	for range opts.Nodes {
		c.Add()
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Members[0].Bootstrap(ctx); err != nil {
		t.Fatalf("bootstrapping: %v", err)
	}
	c.Leader()
	for _, m := range c.Members[1:] {
		c.Join(m)
	}
	c.WaitVoters(opts.Nodes)
	return c
}

// Add opens one more node, which waits to be joined.
func (c *Cluster) Add() *Member {
	c.t.Helper()
	m := &Member{ID: fmt.Sprintf("node-%d", len(c.Members)+1), Fatal: make(chan error, 1)}
	m.config = cluster.Config{
		NodeID:        m.ID,
		ClusterID:     c.CA.ClusterID,
		DataDir:       filepath.Join(c.t.TempDir(), m.ID),
		Identity:      c.CA.Identity(c.t, m.ID),
		ListenAddress: "127.0.0.1:0",
		Gossip:        membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
		Timing:        Timing(),
		Fatal: func(err error) {
			select {
			case m.Fatal <- err:
			default:
			}
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() {
		m.config.Logger = slog.New(slog.NewTextHandler(c.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	m.DataDir = m.config.DataDir
	if c.opts.Configure != nil {
		c.opts.Configure(&m.config)
	}
	c.open(m)
	c.Members = append(c.Members, m)
	return m
}

func (c *Cluster) open(m *Member) {
	c.t.Helper()
	m.Machine = NewMachine()
	if c.opts.Machine != nil {
		m.Machine = c.opts.Machine()
	}
	listener, err := transport.Listen(m.config.ListenAddress)
	if err != nil {
		c.t.Fatalf("opening %s: %v", m.ID, err)
	}
	m.config.Listener = listener
	m.Address = listener.Addr().String()
	m.config.ListenAddress = m.Address // the same one after a restart
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if m.Node, err = cluster.Open(ctx, m.config, m.Machine); err != nil {
		c.t.Fatalf("opening %s: %v", m.ID, err)
	}
	m.running = true
}

// Join adds a member to the cluster as a non-voter.
func (c *Cluster) Join(m *Member) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := c.Leader().AddNonvoter(ctx, m.ID, m.Address); err != nil {
		c.t.Fatalf("adding %s: %v", m.ID, err)
	}
}

// Stop closes a node.
func (c *Cluster) Stop(m *Member) {
	c.t.Helper()
	if !m.running {
		return
	}
	m.running = false
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		c.t.Errorf("closing %s: %v", m.ID, err)
	}
}

// Restart opens a stopped node with the same directory and address, and an
// empty state machine.
func (c *Cluster) Restart(m *Member) {
	c.t.Helper()
	c.Stop(m)
	c.open(m)
}

// Move restarts a node on another port of its cluster address.
func (c *Cluster) Move(m *Member) {
	c.t.Helper()
	c.Stop(m)
	m.config.ListenAddress = "127.0.0.1:0"
	c.open(m)
}

func (c *Cluster) stopAll() {
	var wg sync.WaitGroup
	for _, m := range c.Members {
		wg.Go(func() { c.Stop(m) })
	}
	wg.Wait()
}

// Leader waits until a running node leads and is ready.
func (c *Cluster) Leader() *Member {
	c.t.Helper()
	var leader *Member
	c.Eventually("a leader", func() bool {
		for _, m := range c.Members {
			if m.running && m.IsLeader() {
				leader = m
				return true
			}
		}
		return false
	})
	return leader
}

// Follower returns a running member that does not lead.
func (c *Cluster) Follower() *Member {
	c.t.Helper()
	followers := c.Followers()
	if len(followers) == 0 {
		c.t.Fatal("there is no follower")
	}
	return followers[0]
}

// Followers returns the running members that do not lead.
func (c *Cluster) Followers() (followers []*Member) {
	c.t.Helper()
	leader := c.Leader()
	for _, m := range c.Members {
		if m.running && m != leader {
			followers = append(followers, m)
		}
	}
	return followers
}

// WaitVoters waits until every running node knows of that many voters.
func (c *Cluster) WaitVoters(voters int) {
	c.t.Helper()
	c.Eventually(fmt.Sprintf("%d voters", voters), func() bool {
		for _, m := range c.Members {
			if !m.running {
				continue
			}
			members, err := m.Node.Members(context.Background())
			count := 0
			for _, member := range members {
				if member.Voter {
					count++
				}
			}
			if err != nil || count != voters {
				return false
			}
		}
		return true
	})
}

// Eventually waits until something is true.
func (c *Cluster) Eventually(what string, true func() bool) {
	c.t.Helper()
	for end := time.Now().Add(Patience); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// NothingApplied is what a transport is told that stands for no node.
func NothingApplied() transport.Local {
	zero := func() uint64 { return 0 }
	return transport.Local{Log: raft.NewInmemStore(), Applied: zero, Term: zero}
}
