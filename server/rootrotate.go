package server

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// A rotation of the root keys. A new generation is made in one node's module and
// goes, wrapped, module to module, to all others, which report that they hold
// it; then the state has it in use, and what is made from then on is under it.
// What is under the old one is put under the new one in the background, in
// commands that name what they replace (rewrap.go), so whoever goes on goes on
// from the state. When nothing is left, the operator retires the old generation,
// and every module destroys it. All calls are served all the while, since every
// module holds both.

// provedKeyLabel begins what proves that a transport key is a member's: a MAC
// by the roots in use, which nobody makes without a module that holds them. No
// record's binding begins so (see hsm.Binding).
const provedKeyLabel = "raftkms member transport key v1\x00"

// provedKey is a member's transport key with that proof.
type provedKey struct {
	PublicKey []byte `cbor:"1,keyasint"`
	MAC       []byte `cbor:"2,keyasint"`
}

func provedKeyMessage(nodeID string, publicKey []byte) []byte {
	return append([]byte(provedKeyLabel+nodeID+"\x00"), publicKey...)
}

// answerProvedKeys is a member that holds the roots in use asking for another
// generation: it answers with a transport key of each of its devices without it.
func (k *rootKeeper) answerProvedKeys(ctx context.Context, body []byte) ([]byte, error) {
	var generation uint32
	if err := cbor.Unmarshal(body, &generation); err != nil {
		return nil, refuseRemote("the generation of root keys cannot be read")
	}
	c := k.server.machine.State().Cluster()
	if c == nil || !k.held() {
		return nil, refuseRemote("node %s does not hold the root keys in use", k.server.cfg.NodeID)
	}
	module := k.server.cfg.Module
	var lacking [][]byte
	var err error
	if devices, is := module.(hsm.Redundant); is {
		if lacking, err = devices.Lacking(ctx, hsm.RootGeneration(generation)); errors.Is(err, hsm.ErrUnavailable) {
			return nil, refuseRemote("node %s: %s", k.server.cfg.NodeID, err)
		}
	} else if generation != c.RootGeneration {
		lacking = make([][]byte, 1)
		lacking[0], err = module.TransportKey(ctx)
	}
	if err != nil {
		return nil, err
	}
	proved := make([]provedKey, 0, len(lacking))
	for _, publicKey := range lacking {
		mac, err := module.Under(hsm.RootGeneration(c.RootGeneration)).MAC(ctx, provedKeyMessage(k.server.cfg.NodeID, publicKey))
		if err != nil {
			return nil, err
		}
		proved = append(proved, provedKey{PublicKey: publicKey, MAC: mac})
	}
	return cbor.Marshal(proved)
}

// sendGeneration sends a generation of the roots to the devices of a member that
// lack it, once they prove that they are a node's that holds the ones in use:
// nobody has to compare a fingerprint again.
func (s *Server) sendGeneration(ctx context.Context, m *member, nodeID string, generation uint32, officerPIN []byte) error {
	body, err := cbor.Marshal(generation)
	if err != nil {
		return fmt.Errorf("encoding the generation of root keys: %w", err)
	}
	raw, err := m.node.Call(ctx, nodeID, callProvedKeys, body)
	if err != nil {
		return fmt.Errorf("asking node %s for its transport key: %w", nodeID, err)
	}
	var keys []provedKey
	if err := cbor.Unmarshal(raw, &keys); err != nil {
		return fmt.Errorf("reading the transport key of node %s: %w", nodeID, err)
	}
	for _, key := range keys {
		if err := s.cfg.Module.VerifyMAC(ctx, provedKeyMessage(nodeID, key.PublicKey), key.MAC); err != nil {
			return fmt.Errorf("node %s does not prove that its module holds the root keys in use: %w", nodeID, err)
		}
		if err := s.exportTo(ctx, m, nodeID, generation, key.PublicKey, officerPIN); err != nil {
			return err
		}
	}
	return nil
}

// follow keeps what this node has of roots in line with the state.
func (k *rootKeeper) follow(ctx context.Context) error {
	root := k.server.machine.State()
	c := root.Cluster()
	if c == nil {
		return nil
	}
	module := k.server.cfg.Module
	if node, ok := root.Node(k.server.cfg.NodeID); ok && c.RootNext != 0 && node.RootsHeld != c.RootNext {
		canary, err := canaryOf(c, c.RootNext)
		if err != nil {
			return err
		}
		held := canary.Verify(ctx, module) == nil // it came just before the process died
		if held {
			lacks, err := k.server.lacksRoots(ctx, c.RootNext)
			if err != nil {
				return fmt.Errorf("looking for the new root keys: %w", err)
			}
			held = !lacks
		}
		if held {
			if err := k.member.service.ReportRoots(ctx, c.RootNext, c.RootNextCanary); err != nil {
				return fmt.Errorf("reporting the new root keys: %w", err)
			}
		}
	}
	if err := k.adoptCanary(ctx, c); err != nil {
		return err
	}
	before := k.cleaned.Load()
	if c.RootOld != 0 || c.RootNext != 0 || before == c.RootGeneration || !k.cleaned.CompareAndSwap(before, c.RootGeneration) {
		return nil
	}
	err := k.clean(ctx, c)
	if err != nil {
		k.cleaned.Store(0)
	}
	return err
}

// clean destroys what the module holds beside the generation in use.
func (k *rootKeeper) clean(ctx context.Context, c *state.Cluster) error {
	module := k.server.cfg.Module
	if err := k.destroyGivenUp(ctx, c.RootGeneration+1); err != nil {
		return err
	}
	for generation := uint32(1); generation < c.RootGeneration; generation++ {
		err := module.DestroyRoots(ctx, k.member.clusterID, hsm.RootGeneration(generation))
		switch {
		case errors.Is(err, hsm.ErrNoRoots):
		case err != nil:
			return fmt.Errorf("destroying retired root keys: %w", err)
		default:
			k.server.cfg.Logger.Info("this node's module has destroyed retired root keys", "generation", generation)
		}
	}
	return nil
}

// destroyGivenUp destroys a generation that was staged and given up. One that is
// being made here, which the state does not know yet, is left alone.
func (k *rootKeeper) destroyGivenUp(ctx context.Context, generation uint32) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.member.service.Current(ctx); err != nil {
		return err
	}
	if c := k.server.machine.State().Cluster(); c.RootNext != 0 || c.RootGeneration >= generation {
		k.cleaned.Store(0)
		return nil // it came into the state meanwhile
	}
	err := k.server.cfg.Module.DestroyRoots(ctx, k.member.clusterID, hsm.RootGeneration(generation))
	switch {
	case errors.Is(err, hsm.ErrNoRoots):
		return nil
	case err != nil:
		return fmt.Errorf("destroying root keys that were given up: %w", err)
	}
	k.server.cfg.Logger.Info("this node's module has destroyed root keys that were given up", "generation", generation)
	return nil
}

// adoptCanary has the identity file name the roots in use, before the old ones
// are destroyed: with it the node proves its module when it starts.
func (k *rootKeeper) adoptCanary(ctx context.Context, c *state.Cluster) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.identity.Canary == hex.EncodeToString(c.Canary) {
		return nil
	}
	canary, err := canaryOf(c, c.RootGeneration)
	if err != nil {
		return err
	}
	if err := canary.Verify(ctx, k.server.cfg.Module); err != nil {
		return fmt.Errorf("this node's module does not hold the root keys in use: %w", err)
	}
	id := k.identity
	id.Canary = hex.EncodeToString(c.Canary)
	if err := id.save(k.server.cfg.DataDir); err != nil {
		return err
	}
	k.identity = id
	k.server.cfg.Logger.Info("root keys in use", "generation", c.RootGeneration)
	return nil
}

// rotateRoots begins a rotation, goes on with one, says how far it is, or
// retires the old generation.
func (s *Server) rotateRoots(ctx context.Context, req wire.RotateRootsRequest) (*wire.RotateRootsReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if !m.roots.held() {
		return nil, errors.New("this node does not hold the root keys itself; rotate them on a node that does")
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	pin := []byte(req.OfficerPIN)
	defer clear(pin)
	var err error
	blocked := 0
	var failures []wire.RootKeyFailure
	switch req.Action {
	case wire.RootsStatus:
	case wire.RootsRetire:
		c := s.machine.State().Cluster()
		if c.RootOld == 0 {
			return nil, errors.New("there are no old root keys to retire")
		}
		err = m.service.RotateRoots(ctx, uuid.NewString(), command.RotateRoots{Step: command.RootRetire, Generation: c.RootOld, EndTokens: req.EndTokens})
	case wire.RootsAbort:
		c := s.machine.State().Cluster()
		if c.RootNext == 0 {
			return nil, errors.New("there are no staged root keys to give up: those that came into use are used, and another rotation replaces them")
		}
		err = m.service.RotateRoots(ctx, uuid.NewString(), command.RotateRoots{Step: command.RootAbort, Generation: c.RootNext})
	case wire.RootsBegin:
		if s.machine.State().Cluster().RootOld == 0 {
			err = s.beginRotation(ctx, m, pin)
		}
	case wire.RootsRewrap:
		if s.machine.State().Cluster().RootOld != 0 {
			blocked, failures, err = m.rewrapper.asked(ctx, pin)
		}
	default:
		return nil, fmt.Errorf("a rotation is asked to %s, %s, %s, %s or say its %s", wire.RootsBegin, wire.RootsRewrap, wire.RootsRetire, wire.RootsAbort, wire.RootsStatus)
	}
	if err != nil {
		return nil, err
	}
	reply := s.rotationStatus()
	reply.Blocked, reply.Failures = blocked, failures
	return reply, nil
}

func (s *Server) rotationStatus() *wire.RotateRootsReply {
	root := s.machine.State()
	c := root.Cluster()
	reply := &wire.RotateRootsReply{Generation: c.RootGeneration, Next: c.RootNext, Old: c.RootOld, Records: root.SealedCount()}
	for _, node := range root.Nodes() {
		if c.RootNext != 0 && node.RootsApproved == c.RootGeneration && node.RootsHeld != c.RootNext {
			reply.Waiting = append(reply.Waiting, node.ID)
		}
	}
	if c.RootOld != 0 {
		all, imports := root.SealedUnder(c.RootOld)
		reply.Remaining, reply.Imports = all-imports, imports
		reply.Since = time.UnixMilli(c.RootUsed).UTC().Format(time.RFC3339)
	}
	return reply
}

// beginRotation stages a generation, or finds the one that was staged, brings it
// to every node, and has it used.
func (s *Server) beginRotation(ctx context.Context, m *member, officerPIN []byte) error {
	if s.machine.State().Cluster().RootNext == 0 {
		if err := s.stageRoots(ctx, m); err != nil {
			return err
		}
	}
	c := s.machine.State().Cluster()
	if c.RootOld != 0 {
		return nil // it is in use already
	}
	next := c.RootNext
	canary, err := canaryOf(c, next)
	if err != nil {
		return err
	}
	if err := canary.Verify(ctx, s.cfg.Module); err != nil {
		return fmt.Errorf("root generation %d was made on another node; go on with the rotation there, or give it up with `kmsctl root rotate --abort` if that node is lost: %w", next, err)
	}
	if devices, is := s.cfg.Module.(hsm.Redundant); is {
		if _, err := devices.CopyRoots(ctx, hsm.RootGeneration(next), officerPIN); err != nil {
			return unfinished{fmt.Errorf("the new root keys are not in both HSMs of this node yet, and nothing uses them; asked again, the rotation goes on from there: %w", err)}
		}
	}
	if err := m.service.ReportRoots(ctx, next, c.RootNextCanary); err != nil {
		return fmt.Errorf("reporting the new root keys: %w", err)
	}
	for _, node := range s.machine.State().Nodes() {
		if node.ID == s.cfg.NodeID || node.RootsApproved != c.RootGeneration || node.RootsHeld == next {
			continue
		}
		if err := s.sendGeneration(ctx, m, node.ID, next, officerPIN); err != nil {
			return unfinished{fmt.Errorf("the new root keys have not come to every node yet, and nothing uses them; asked again, the rotation goes on from there: %w", err)}
		}
	}
	return m.service.RotateRoots(ctx, uuid.NewString(), command.RotateRoots{Step: command.RootUse, Generation: next})
}

// stageRoots makes a generation in this node's module and tells the state.
func (s *Server) stageRoots(ctx context.Context, m *member) error {
	m.roots.changing.Lock()
	defer m.roots.changing.Unlock()
	if err := m.service.Current(ctx); err != nil {
		return err
	}
	c := s.machine.State().Cluster()
	if c.RootNext != 0 || c.RootOld != 0 {
		return nil // somebody else has begun since
	}
	if err := m.service.TestGenerator(ctx); err != nil {
		return fmt.Errorf("making new root keys: %w", err)
	}
	next := hsm.RootGeneration(c.RootGeneration + 1)
	m.roots.cleaned.Store(0)
	module := s.cfg.Module
	err := module.CreateRoots(ctx, m.clusterID, next)
	if errors.Is(err, hsm.ErrRootsExist) { // of an attempt that the state knows nothing of: nothing is under them
		if err = module.DestroyRoots(ctx, m.clusterID, next); err == nil {
			err = module.CreateRoots(ctx, m.clusterID, next)
		}
	}
	if err != nil {
		return fmt.Errorf("making new root keys: %w", err)
	}
	canary, err := hsm.NewCanary(ctx, module, m.clusterID, next)
	if err != nil {
		return fmt.Errorf("making the canary: %w", err)
	}
	encoded, err := canary.Encode()
	if err != nil {
		return err
	}
	return m.service.RotateRoots(ctx, uuid.NewString(), command.RotateRoots{Step: command.RootStage, Generation: uint32(next), Canary: encoded})
}
