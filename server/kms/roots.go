package kms

import (
	"context"
	"crypto/sha256"
	"strconv"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
)

// RotateRoots takes one step of a rotation of the root keys.
func (s *Service) RotateRoots(ctx context.Context, requestID string, body command.RotateRoots) error {
	in := Incoming{Operation: OpRotateRoots, RequestID: requestID, Source: "admin socket"}
	if body.Step == command.RootRetire {
		in.Operation = OpRetireRoots
	}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.asked.Number("step", int64(body.Step))
		c.asked.Number("root_generation", int64(body.Generation))
		_, err := s.propose(ctx, c, body, strconv.Itoa(int(body.Step)), strconv.FormatUint(uint64(body.Generation), 10))
		return err
	})
}

// ReportRoots says that this node's module has proved to hold a generation of
// the roots, by that encoded canary.
func (s *Service) ReportRoots(ctx context.Context, generation uint32, canary []byte) error {
	return s.RunSystem(ctx, OpReportRoots, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.asked.Text("node_id", s.nodeID)
		c.asked.Number("root_generation", int64(generation))
		_, err := s.propose(ctx, c, command.ReportRoots{NodeID: s.nodeID, Generation: generation, Canary: sha256.Sum256(canary)}, strconv.FormatUint(uint64(generation), 10))
		return err
	})
}

// RewrapRecords replaces what this node has put under the roots in use, and
// tells how much of it was replaced.
func (s *Service) RewrapRecords(ctx context.Context, body command.RewrapRecords) (done fsm.RewrapResult, err error) {
	err = s.RunSystem(ctx, OpRewrapRecords, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.asked.Number("root_generation", int64(body.Generation))
		c.asked.Number("parts", int64(len(body.Parts)))
		result, err := s.propose(ctx, c, body, strconv.FormatUint(uint64(body.Generation), 10), strconv.Itoa(len(body.Parts)))
		if err != nil {
			return err
		}
		if done, err = result.Rewrapped(); err == nil {
			c.answered.Number("done", int64(done.Done))
		}
		return err
	})
	return done, err
}
