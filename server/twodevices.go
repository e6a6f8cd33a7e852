package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// A node may have two HSMs that hold the same root keys (package failover). The
// first gets them as a node's only one does; the second from the same node that
// sends them to the first, or by the operator's command from the first.

// lacksRoots tells whether one of this node's devices lacks a generation that
// another holds. A module of one device lacks nothing that it has proved.
func (s *Server) lacksRoots(ctx context.Context, generation uint32) (bool, error) {
	devices, is := s.cfg.Module.(hsm.Redundant)
	if !is {
		return false, nil
	}
	keys, err := devices.Lacking(ctx, hsm.RootGeneration(generation))
	return len(keys) > 0, err
}

// copyRoots brings the root keys from the HSM of this node that holds them to
// the other: all generations that the state knows, the newest last, since a
// device with that one counts as complete.
func (s *Server) copyRoots(ctx context.Context, req wire.CopyRootsRequest) (*wire.CopyRootsReply, error) {
	devices, is := s.cfg.Module.(hsm.Redundant)
	if !is {
		return nil, errors.New("this node has one HSM: name a second in its configuration (module.second) first")
	}
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if !m.roots.held() {
		return nil, errors.New("this node does not hold the root keys itself yet: approve it first (`kmsctl root approve`)")
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	m.roots.changing.Lock()
	defer m.roots.changing.Unlock()
	pin := []byte(req.OfficerPIN)
	defer clear(pin)
	c := s.machine.State().Cluster()
	reply := &wire.CopyRootsReply{NodeID: s.cfg.NodeID, Copied: []wire.CopiedRoots{}}
	for _, generation := range []uint32{c.RootOld, c.RootGeneration, c.RootNext} {
		if generation == 0 {
			continue
		}
		to, err := devices.CopyRoots(ctx, hsm.RootGeneration(generation), pin)
		if generation == c.RootNext && errors.Is(err, hsm.ErrNoRoots) {
			continue // another node made it, and sends it here
		}
		if err != nil {
			return nil, fmt.Errorf("bringing the root keys of generation %d to the other HSM: %w", generation, err)
		}
		for _, name := range to {
			reply.Copied = append(reply.Copied, wire.CopiedRoots{HSM: name, Generation: generation})
			s.events.note(kms.OpReceiveRoots, func(call *kms.Call) {
				call.AboutResource(s.cfg.NodeID, "")
				call.Asked().Number("generation", int64(generation))
				call.Asked().Text("hsm", name)
			})
		}
	}
	return reply, nil
}

// modules says how the HSMs of this node fare, of which there may be two.
func (s *Server) modules() (list []wire.ModuleInfo) {
	devices, is := s.cfg.Module.(hsm.Redundant)
	if !is {
		return nil
	}
	for _, member := range devices.Members() {
		info := wire.ModuleInfo{Name: member.Name, Serves: true}
		if reason := member.Serves(); reason != nil {
			info.Serves, info.Problem = false, reason.Error()
		}
		list = append(list, info)
	}
	return list
}
