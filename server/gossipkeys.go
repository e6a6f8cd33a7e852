package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// The gossip key is in the replicated state, sealed, and every node follows it;
// gossip.key in the data directory is the copy that a node starts with. A
// rotation is three commands, and all nodes follow between them: understand the
// new key, speak in it, forget the old one. A node that was away follows when it
// is back, since gossip decides nothing: the state comes to it by Raft.

// callFollowGossip has a node follow the newest state's gossip keys now.
const callFollowGossip = "server.follow-gossip"

const (
	gossipFollowPeriod = 5 * time.Second
	gossipFollowWait   = 10 * time.Second // for one node, at each step of a rotation
)

// gossipKeeper keeps a node's gossip keys as the state has them.
type gossipKeeper struct {
	server *Server
	member *member

	mu     sync.Mutex
	follow *state.Cluster // whose keys the node uses; nil: those that it started with
}

// run follows what the node was not told of.
func (k *gossipKeeper) run(ctx context.Context) {
	for {
		if err := k.update(ctx); err != nil && ctx.Err() == nil {
			k.server.cfg.Logger.Warn("this node's gossip keys are not those of the cluster", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gossipFollowPeriod):
		}
	}
}

// update takes the keys of the state. A node that holds no roots cannot open
// them, and is not waited for either.
func (k *gossipKeeper) update(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.server.machine.State().Cluster()
	if c == nil || !k.member.roots.held() || k.follow != nil &&
		bytes.Equal(k.follow.SealedGossip, c.SealedGossip) && bytes.Equal(k.follow.SealedGossipOther, c.SealedGossipOther) {
		return nil
	}
	primary, err := k.member.seal.open(ctx, sealGossipKey, c.ID, c.SealedGossip)
	if err != nil {
		return fmt.Errorf("opening the gossip key: %w", err)
	}
	defer clear(primary)
	var other []byte
	if len(c.SealedGossipOther) > 0 {
		if other, err = k.member.seal.open(ctx, sealGossipKey, c.ID, c.SealedGossipOther); err != nil {
			return fmt.Errorf("opening the other gossip key: %w", err)
		}
		defer clear(other)
	}
	if err := k.member.node.SetGossipKeys(primary, other); err != nil {
		return err
	}
	if k.follow == nil || !bytes.Equal(k.follow.SealedGossip, c.SealedGossip) {
		if err := writeFile(filepath.Join(k.server.cfg.DataDir, gossipKeyFile), primary); err != nil {
			return err
		}
	}
	k.follow = c
	return nil
}

// answerFollow has this node follow whatever was acknowledged before the call.
func (k *gossipKeeper) answerFollow(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	if err := k.member.service.Current(ctx); err != nil {
		return nil, err
	}
	return nil, k.update(ctx)
}

// rotateGossipKey replaces the gossip key; it goes on with a rotation that
// somebody else began and did not end.
func (s *Server) rotateGossipKey(ctx context.Context, _ struct{}) (*wire.GossipRotation, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	c := s.machine.State().Cluster()
	if c == nil {
		return nil, errNoCluster
	}
	reply := &wire.GossipRotation{Resumed: len(c.SealedGossipOther) > 0}
	for step := nextGossipStep(c); ; step++ {
		body := command.RotateGossipKey{Step: step}
		if step == command.GossipStage {
			fresh := make([]byte, 32)
			rand.Read(fresh)
			sealed, err := m.seal.seal(ctx, hsm.RootGeneration(c.RootGeneration), sealGossipKey, c.ID, fresh)
			clear(fresh)
			if err != nil {
				return nil, fmt.Errorf("sealing the new gossip key: %w", err)
			}
			body.Sealed = sealed
		}
		if err := m.service.RotateGossipKey(ctx, uuid.NewString(), body); err != nil {
			return nil, unfinished{fmt.Errorf("rotating the gossip key, step %d of %d (asked again, it goes on from there): %w", step, command.GossipDrop, err)}
		}
		reply.Behind = s.followGossip(ctx, m)
		if step == command.GossipDrop {
			return reply, nil
		}
	}
}

// nextGossipStep is what comes next in a rotation.
func nextGossipStep(c *state.Cluster) command.GossipStep {
	switch {
	case len(c.SealedGossipOther) == 0:
		return command.GossipStage
	case c.GossipStaged:
		return command.GossipUse
	default:
		return command.GossipDrop
	}
}

// followGossip has all nodes follow, and returns those that did not.
func (s *Server) followGossip(ctx context.Context, m *member) (behind []wire.GossipBehind) {
	nodes := s.machine.State().Nodes()
	failures := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, gossipFollowWait)
			defer cancel()
			_, failures[i] = m.node.Call(ctx, node.ID, callFollowGossip, nil)
		})
	}
	all.Wait()
	for i, err := range failures {
		if err != nil {
			behind = append(behind, wire.GossipBehind{NodeID: nodes[i].ID, Problem: err.Error()})
		}
	}
	return behind
}
