package server

import (
	"context"
	"errors"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

const (
	handOnPause     = 2 * time.Second
	handOnPauseMost = time.Minute
)

// watchModule does what an outage of this node's module asks for: calls that
// wait are told, and leadership goes to a node whose module serves. A module
// that is not monitored has no outages.
func (s *Server) watchModule(ctx context.Context, m *member) {
	module, is := s.cfg.Module.(hsm.Monitored)
	if !is {
		return
	}
	var before error
	for {
		changed := module.Changed()
		outage := module.Health().Outage
		if errors.Is(outage, entropy.ErrGenerator) { // it does not end, and watchGenerator does what it asks for
			m.service.CondemnGenerator(outage)
			return
		}
		m.service.SetModuleOutage(outage)
		if (outage == nil) != (before == nil) {
			s.noteOutage(outage)
		}
		before = outage
		if outage != nil {
			s.handOn(ctx, m, changed)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (s *Server) noteOutage(outage error) {
	op := kms.OpRegainModule
	if outage != nil {
		op = kms.OpLoseModule
	}
	s.events.note(op, func(c *kms.Call) {
		c.AboutResource(s.cfg.NodeID, "")
		if outage != nil {
			c.Remark(audit.RatingIncident, outage.Error())
		}
	})
}

// handOn gives leadership to another node as long as the outage lasts, if one
// of them has a module that serves; more and more seldom, in case it comes back.
func (s *Server) handOn(ctx context.Context, m *member, over <-chan struct{}) {
	pause := handOnPause
	for {
		if m.node.IsLeader() && s.anotherServes(ctx, m) {
			s.cfg.Logger.Warn("handing leadership on, since the module of this node does not serve")
			transfer, cancel := context.WithTimeout(ctx, joinTimeout)
			if err := m.node.TransferLeadership(transfer); err != nil {
				s.cfg.Logger.Warn("handing leadership on", "error", err)
			} else {
				pause = min(2*pause, handOnPauseMost)
			}
			cancel()
		}
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-time.After(pause):
		}
	}
}

// anotherServes asks the other members for one whose module serves.
func (s *Server) anotherServes(ctx context.Context, m *member) bool {
	peers, err := s.peers(ctx, m)
	if err != nil {
		return false
	}
	for _, peer := range peers {
		if status, err := s.statusOf(ctx, m, peer); err == nil && status.Roots && status.Serves {
			return true
		}
	}
	return false
}

// statusOf asks a member about itself.
func (s *Server) statusOf(ctx context.Context, m *member, nodeID string) (status nodeStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	raw, err := m.node.Call(ctx, nodeID, callNodeStatus, nil)
	if err != nil {
		return status, err
	}
	return status, cbor.Unmarshal(raw, &status)
}

// ownStatus is what this node tells others about itself.
func (s *Server) ownStatus(m *member) nodeStatus {
	var clocks map[string]int64
	for node, ahead := range m.node.ClockOffsets() {
		if clocks == nil {
			clocks = make(map[string]int64)
		}
		clocks[node] = ahead.Milliseconds()
	}
	return nodeStatus{
		Clocks: clocks,
		Roots:  m.roots.held(),
		Serves: m.roots.held() && s.moduleProblem(m) == nil,
	}
}

// moduleProblem returns why this node's module is not used now; nil while it is.
func (s *Server) moduleProblem(m *member) error {
	if sick := m.service.Healthy(); sick != nil {
		return sick
	}
	return hsm.Outage(s.cfg.Module)
}
