package server

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/hsm"
)

// gossipKey is what a node would start with.
func (s *Server) gossipKey(t *testing.T) []byte {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.cfg.DataDir, gossipKeyFile))
	must(t, err)
	return key
}

// A rotation, from any node, leaves all nodes with one new key, which they can
// be found by, and by no other; one that could not follow does so later, and one
// that was begun is ended.
func TestGossipKeyIsRotated(t *testing.T) {
	c := newTrio(t)
	// found says how many nodes are found by whoever has the key.
	found := func(key []byte) (nodes int) {
		t.Helper()
		g, err := membership.Open(membership.Options{
			Config: membership.Config{ListenAddress: "127.0.0.1:0", Key: key, Label: c.nodes[0].machine.State().Cluster().ID},
			NodeID: "stranger", ClusterAddress: "127.0.0.1:1", Fatal: func(error) {}, Logger: slog.New(slog.DiscardHandler),
		})
		must(t, err)
		defer func() { must(t, g.Close()) }()
		for _, s := range c.nodes {
			if g.Join(s.cfg.NodeID, s.cfg.GossipAdvertise) == nil {
				nodes++
			}
		}
		return nodes
	}
	same := func(key []byte) func() bool {
		return func() bool {
			for _, s := range c.nodes {
				if !bytes.Equal(s.gossipKey(t), key) {
					return false
				}
			}
			return true
		}
	}
	first := c.nodes[0].gossipKey(t)
	if !same(first)() || found(first) != 3 {
		t.Fatal("the nodes do not begin with one key: this test tests nothing")
	}

	reply, err := c.nodes[1].rotateGossipKey(t.Context(), struct{}{})
	if err != nil || reply.Resumed || reply.Behind != nil {
		t.Fatalf("rotation: %+v, %v", reply, err)
	}
	second := c.nodes[0].gossipKey(t)
	if bytes.Equal(second, first) || !same(second)() {
		t.Errorf("the nodes do not share a new key")
	}
	if byNew, byOld := found(second), found(first); byNew != 3 || byOld != 0 {
		t.Errorf("%d nodes are found by the new key, %d by the old one", byNew, byOld)
	}

	// The third node cannot open a seal for a while.
	c.modules[2].set(hsm.ErrUnavailable)
	reply, err = c.nodes[0].rotateGossipKey(t.Context(), struct{}{})
	if err != nil || len(reply.Behind) != 1 || reply.Behind[0].NodeID != "n3" || reply.Behind[0].Problem == "" {
		t.Errorf("rotation without the third node: %+v, %v", reply, err)
	}
	third := c.nodes[0].gossipKey(t)
	if bytes.Equal(third, second) || !bytes.Equal(c.nodes[2].gossipKey(t), second) {
		t.Error("the third node follows without its module, or nobody does")
	}
	c.modules[2].set(nil)
	await(t, "the third node to follow", same(third))

	// Whoever rotated stopped after the first step.
	sealed, err := c.nodes[0].member.Load().seal.seal(t.Context(), 1, sealGossipKey, c.nodes[0].machine.State().Cluster().ID, bytes.Repeat([]byte{9}, 32))
	must(t, err)
	must(t, c.nodes[0].member.Load().service.RotateGossipKey(t.Context(), "r", command.RotateGossipKey{Step: command.GossipStage, Sealed: sealed}))
	reply, err = c.nodes[2].rotateGossipKey(t.Context(), struct{}{})
	if err != nil || !reply.Resumed || reply.Behind != nil || !same(bytes.Repeat([]byte{9}, 32))() {
		t.Errorf("a rotation that was begun: %+v, %v", reply, err)
	}
	if state := c.nodes[2].machine.State().Cluster(); len(state.SealedGossipOther) != 0 || state.GossipStaged {
		t.Error("the rotation has not ended")
	}
}

// Without a cluster there is nothing to rotate.
func TestGossipKeyOfNoCluster(t *testing.T) {
	s := &Server{}
	if _, err := s.rotateGossipKey(t.Context(), struct{}{}); err != errNoCluster {
		t.Errorf("got %v", err)
	}
}
