package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/server/wire"
)

// backUpRoots has the module wrap the root keys in use under a recovery key
// that nobody keeps: its shares are in the reply, and nowhere else.
func (s *Server) backUpRoots(ctx context.Context, req wire.BackUpRootsRequest) (*wire.BackUpRootsReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if !m.roots.held() {
		return nil, errors.New("this node does not hold the root keys itself; back them up on a node that does")
	}
	reply := &wire.BackUpRootsReply{Threshold: req.Threshold}
	err := m.service.BackUpRoots(ctx, uuid.NewString(), req.Threshold, req.Shares, func(ctx context.Context, root *state.Root) (string, error) {
		canary, err := hsm.DecodeCanary(root.Cluster().Canary)
		if err != nil {
			return "", fmt.Errorf("reading the cluster's canary: %w", err)
		}
		pin := []byte(req.OfficerPIN)
		defer clear(pin)
		reply.File, reply.Shares, err = custody.Make(ctx, s.cfg.Module, canary, req.Threshold, req.Shares, pin, time.Now())
		if err != nil {
			return "", err
		}
		b, err := custody.Read(reply.File)
		if err != nil {
			return "", err
		}
		reply.ClusterID, reply.RootGeneration, reply.Set = root.Cluster().ID, uint32(b.Generation), b.SetID()
		return reply.Set, nil
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}
