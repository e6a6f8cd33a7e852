package kms

import (
	"context"
	"strconv"

	"github.com/raftkms/raftkms/fsm/command"
)

// ReportNode says where this node is and what it runs since it was started.
func (s *Service) ReportNode(ctx context.Context, body command.ReportNode) error {
	return s.RunSystem(ctx, OpReportNode, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.AboutResource(body.NodeID, "")
		c.asked.Text("cluster_address", body.ClusterAddress)
		c.asked.Text("api_url", body.APIURL)
		c.asked.Text("version", body.Program.Version)
		c.asked.Number("highest_level", int64(body.Program.Highest))
		_, err := s.propose(ctx, c, body, body.NodeID, body.ClusterAddress, body.APIURL, body.GossipAddress, body.Program.Version,
			strconv.FormatUint(uint64(body.Program.Lowest), 10), strconv.FormatUint(uint64(body.Program.Highest), 10))
		return err
	})
}

// RaiseLevel takes the cluster to a higher feature level, for good.
func (s *Service) RaiseLevel(ctx context.Context, requestID string, level uint32) error {
	in := Incoming{Operation: OpRaiseLevel, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.asked.Number("level", int64(level))
		_, err := s.propose(ctx, c, command.RaiseLevel{Level: level}, strconv.FormatUint(uint64(level), 10))
		return err
	})
}
