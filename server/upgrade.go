package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// Rolling upgrades. Nodes are stopped and started with the new version one by
// one, in any order. Each says in the state what it runs; nobody writes what is
// newer than the cluster's feature level, and an operator raises that when all
// nodes know a higher one. Until then each may go back to what it ran before.

// reportPeriod is how often a node looks whether the state says of it what is so.
const reportPeriod = time.Second

// program is what this node runs.
func (s *Server) program() command.Program {
	version := s.cfg.Version[:min(len(s.cfg.Version), fsm.MaxProgramVersion)]
	return command.Program{Version: version, Lowest: state.LowestFeatureLevel, Highest: s.machine.Highest()}
}

// reportNode has the state say where this node is and what it runs, which may
// have changed since it was last started. A version that cannot run at the
// cluster's feature level ends the process.
func (s *Server) reportNode(ctx context.Context, m *member) {
	for {
		if err := s.reportOnce(ctx, m); err != nil && ctx.Err() == nil {
			if refusal, ok := errors.AsType[*fsm.Refusal](err); ok && refusal.Code == fsm.CodeFeatureLevel {
				s.fail(fmt.Errorf("this node cannot be a member of its cluster: %s", refusal.Message))
				return
			}
			s.cfg.Logger.Warn("telling the cluster what this node is", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportPeriod):
		}
	}
}

func (s *Server) reportOnce(ctx context.Context, m *member) error {
	root := s.machine.State()
	node, known := root.Node(s.cfg.NodeID)
	if root.Cluster() == nil || !known {
		return nil // it has no state yet, or no place in it any more
	}
	body := command.ReportNode{
		NodeID: s.cfg.NodeID, ClusterAddress: s.cfg.ClusterAdvertise, APIURL: s.cfg.APIURL, GossipAddress: s.cfg.GossipAdvertise, Program: s.program(),
	}
	said := command.ReportNode{
		NodeID: node.ID, ClusterAddress: node.ClusterAddress, APIURL: node.APIURL, GossipAddress: node.GossipAddress,
		Program: command.Program{Version: node.Version, Lowest: node.LowestLevel, Highest: node.HighestLevel},
	}
	if said == body {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	return m.service.ReportNode(ctx, body)
}

// upgradeStatus is what every node last said that it runs.
func (s *Server) upgradeStatus(ctx context.Context) (*wire.UpgradeStatus, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	root := s.machine.State()
	if root.Cluster() == nil {
		return nil, errNoCluster
	}
	reply := &wire.UpgradeStatus{Level: root.Cluster().FeatureLevel}
	for _, node := range root.Nodes() {
		said := wire.NodeProgram{NodeID: node.ID, Version: node.Version, Lowest: max(node.LowestLevel, 1), Highest: max(node.HighestLevel, 1)}
		if reply.Possible == 0 || said.Highest < reply.Possible {
			reply.Possible = said.Highest
		}
		reply.Nodes = append(reply.Nodes, said)
	}
	return reply, nil
}

// raiseLevel takes the cluster to a higher feature level. Whether all nodes know
// it is judged where the command is applied.
func (s *Server) raiseLevel(ctx context.Context, req wire.RaiseLevelRequest) (*wire.UpgradeStatus, error) {
	status, err := s.upgradeStatus(ctx)
	if err != nil {
		return nil, err
	}
	level := req.Level
	if level == 0 {
		if level = status.Possible; level <= status.Level {
			return nil, s.nothingToRaise(status)
		}
	}
	if err := s.member.Load().service.RaiseLevel(ctx, uuid.NewString(), level); err != nil {
		return nil, err
	}
	return s.upgradeStatus(ctx)
}

// nothingToRaise says why the feature level stays, and who holds it back.
func (s *Server) nothingToRaise(status *wire.UpgradeStatus) error {
	for _, node := range status.Nodes {
		if node.Highest == status.Possible && status.Possible < s.machine.Highest() {
			return fmt.Errorf("node %s runs raftkms %q, which knows no feature level above %d: upgrade it first, or take it out of the cluster", node.NodeID, node.Version, status.Possible)
		}
	}
	return fmt.Errorf("the cluster is at feature level %d, the newest that its nodes know", status.Level)
}
