package kms

import (
	"context"
	"encoding/hex"
	"strconv"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
)

// Bootstrap writes a new cluster's first command.
func (s *Service) Bootstrap(ctx context.Context, body command.Bootstrap, source string) error {
	in := Incoming{Operation: OpBootstrap, RequestID: uuid.NewString(), Source: source}
	return s.run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.AboutResource(body.ClusterID, "")
		_, err := s.propose(ctx, c, body, body.ClusterID)
		return err
	})
}

// CreateJoinToken registers a one-time token by the hash of its secret.
func (s *Service) CreateJoinToken(ctx context.Context, requestID string, body command.CreateJoinToken) error {
	in := Incoming{Operation: OpCreateJoinToken, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		_, err := s.propose(ctx, c, body, body.ID)
		return err
	})
}

// AdmitNode spends a join token on a node, if free lets it by the newest state.
func (s *Service) AdmitNode(ctx context.Context, source string, body command.AdmitNode, free func(*state.Root) error) error {
	in := Incoming{Operation: OpAdmitNode, RequestID: uuid.NewString(), Source: source}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.JoiningNode()
		c.AboutResource(body.Node.ID, "")
		if err := free(c.Root); err != nil {
			return err
		}
		_, err := s.propose(ctx, c, body, body.TokenID, body.Node.ID)
		return err
	})
}

// ApproveRoots records an operator's leave to send the roots to a node.
func (s *Service) ApproveRoots(ctx context.Context, requestID string, body command.ApproveRoots) error {
	in := Incoming{Operation: OpApproveRoots, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.AboutResource(body.NodeID, "")
		_, err := s.propose(ctx, c, body, body.NodeID)
		return err
	})
}

// RemoveNode takes a node out of the cluster's state.
func (s *Service) RemoveNode(ctx context.Context, requestID string, body command.RemoveNode) error {
	return s.changeNode(ctx, requestID, OpRemoveNode, body.NodeID, body)
}

// SetStandby says whether a node is to stay without a vote.
func (s *Service) SetStandby(ctx context.Context, requestID string, body command.SetStandby) error {
	op := OpPromoteNode
	if body.Standby {
		op = OpDemoteNode
	}
	return s.changeNode(ctx, requestID, op, body.NodeID, body)
}

// RotateGossipKey takes one step of a rotation of the gossip key.
func (s *Service) RotateGossipKey(ctx context.Context, requestID string, body command.RotateGossipKey) error {
	return s.takeStep(ctx, requestID, OpRotateGossipKey, int(body.Step), body)
}

// RotateCA takes one step of a rotation of the cluster's CA.
func (s *Service) RotateCA(ctx context.Context, requestID string, body command.RotateCA) error {
	return s.takeStep(ctx, requestID, OpRotateCA, int(body.Step), body)
}

// takeStep takes one step of a rotation that an operator asks for.
func (s *Service) takeStep(ctx context.Context, requestID string, op Operation, step int, body command.Body) error {
	in := Incoming{Operation: op, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.asked.Number("step", int64(step))
		_, err := s.propose(ctx, c, body, strconv.Itoa(step))
		return err
	})
}

// ReportCAs says which CAs this node trusts, and which one signed its certificate.
func (s *Service) ReportCAs(ctx context.Context, body command.ReportCAs) error {
	return s.RunSystem(ctx, OpReportCAs, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.AboutResource(body.NodeID, "")
		c.asked.Text("issuer", hex.EncodeToString(body.Issuer))
		c.asked.Number("trusted", int64(len(body.Trusted)))
		said := []string{body.NodeID, hex.EncodeToString(body.Issuer)}
		for _, fingerprint := range body.Trusted {
			said = append(said, hex.EncodeToString(fingerprint))
		}
		_, err := s.propose(ctx, c, body, said...)
		return err
	})
}

// changeNode makes an operator's change of a node.
func (s *Service) changeNode(ctx context.Context, requestID string, op Operation, nodeID string, body command.Body) error {
	in := Incoming{Operation: op, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.AboutResource(nodeID, "")
		_, err := s.propose(ctx, c, body, nodeID)
		return err
	})
}

// Backup hands the current state to write, which returns the index that it
// wrote. Its trace comes when the backup is out: what leaves is sealed.
func (s *Service) Backup(ctx context.Context, requestID string, write func(ctx context.Context, root *state.Root) (index uint64, err error)) error {
	in := Incoming{Operation: OpBackup, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		index, err := write(ctx, c.Root)
		c.answered.Number("index", int64(index))
		return err
	})
}

// BackUpRoots has shares of the root keys made, and traces which set of them
// was given out, before it is.
func (s *Service) BackUpRoots(ctx context.Context, requestID string, threshold, shares int, give func(ctx context.Context, root *state.Root) (set string, err error)) error {
	in := Incoming{Operation: OpBackUpRoots, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		c.asked.Number("threshold", int64(threshold))
		c.asked.Number("shares", int64(shares))
		set, err := give(ctx, c.Root)
		if err != nil {
			return err
		}
		c.answered.Text("set", set)
		c.answered.Number("root_generation", int64(c.Root.Cluster().RootGeneration))
		c.Remark(audit.RatingWarning, "shares were given out that open the root keys")
		return nil
	})
}
