package kms

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// retryPause is how long a proposal waits before it is tried again after its
// outcome became unknown: about an election.
const retryPause = 200 * time.Millisecond

// propose makes a change. It is applied at most once, however often it is
// sent: every attempt carries one proposal id, so an attempt whose outcome is
// unknown (the leader died on it) is simply repeated until the context ends.
//
// meaning are the parts of the request that say what the client asked for;
// what this node drew at random for it is not among them.
func (s *Service) propose(ctx context.Context, c *Call, body command.Body, meaning ...string) (fsm.Result, error) {
	typ := body.Type()
	cmd, err := command.New(typ, body)
	if err != nil {
		return fsm.Result{}, fmt.Errorf("encoding a %v command: %w", typ, err)
	}
	if err := reached(s.replica.Root().Cluster(), cmd); err != nil {
		return fsm.Result{}, err
	}
	// What cannot be traced must not be done.
	if c.room == nil { // a call whose first try was refused as stale has it
		if c.room, err = s.traces.Reserve(ctx); err != nil {
			return fsm.Result{}, untraced("the change was not made", err)
		}
	}
	c.proposed = true
	cmd.Caller = c.caller
	cmd.Caller.NodeID = s.nodeID
	cmd.Proposal = command.Proposal{ID: uuid.NewString(), Hash: hashRequest(typ, c.in.Project, meaning)}
	first := s.stampedAfter(leadersDiffer)
	if c.in.Once.Token != "" {
		cmd.Proposal = c.proposal(s.replica.Root(), typ)
		c.proposals++
		if age := c.in.Once.Age; age > 0 {
			// A repeat says when the first one was, so that it is refused where the
			// state may have forgotten that. This node's clock is asked, too: should
			// replicated time have jumped, it knows of less.
			first = min(s.stampedAfter(time.Since(c.started)+age+underway), c.started.Add(-age-underway).UnixMilli())
			cmd.Proposal.First = first
		}
	}

	var unknown error // of an earlier attempt, which may yet take effect
	for {
		data, err := command.Encode(cmd)
		if err != nil {
			return fsm.Result{}, fmt.Errorf("encoding a %v command: %w", typ, err)
		}
		result, err := s.replica.Propose(ctx, data)
		switch {
		case err == nil && result.Refusal != nil:
			return result, fromRefusal(result.Refusal)
		case err == nil:
			return result, nil
		case !errors.Is(err, cluster.ErrOutcomeUnknown):
			// That this attempt was not carried out says nothing of those before.
			return fsm.Result{}, proposeError(errors.Join(unknown, err))
		}
		unknown = err
		// From the second attempt on the command says when the first one was,
		// so that apply refuses it should the reply cache have forgotten that.
		cmd.Proposal.First = first
		select {
		case <-ctx.Done():
			return fsm.Result{}, proposeError(err)
		case <-time.After(retryPause):
		}
	}
}

// leadersDiffer is how much the clocks of two leaders may differ.
const leadersDiffer = 10 * time.Second

// stampedAfter is a time (Unix ms) that no leader's stamp on a command lies
// before, if that was proposed ago. It is not by this node's clock: were that
// fast, a repeat would seem to be newer than the answer that the state has
// forgotten, and be done a second time.
func (s *Service) stampedAfter(ago time.Duration) int64 {
	now := s.replica.Root().Now()
	if leader := s.replica.LeaderTime(); !leader.IsZero() {
		now = max(now, leader.UnixMilli())
	}
	return now - ago.Milliseconds()
}

// reached refuses a command that some node of the cluster may not know yet:
// such a node would stop at it.
func reached(c *state.Cluster, cmd command.Command) error {
	if c == nil || cmd.Level <= c.FeatureLevel {
		return nil
	}
	return fromRefusal(&fsm.Refusal{Code: fsm.CodeFeatureLevel, Message: fmt.Sprintf(
		"this needs feature level %d and the cluster is at %d: when all nodes run a version that knows it, `kmsctl cluster upgrade raise` takes the cluster there", cmd.Level, c.FeatureLevel)})
}

// hashRequest names what was asked for, unambiguously.
func hashRequest(typ command.Type, project string, meaning []string) [32]byte {
	h := sha256.New()
	var n [8]byte
	write := func(part string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	write(typ.String())
	write(project)
	for _, part := range meaning {
		write(part)
	}
	return [32]byte(h.Sum(nil))
}
