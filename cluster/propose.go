package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/transport"
)

// Methods of this package on the cluster port. Other rooms' methods have no
// such prefix.
const (
	methodPropose   = "cluster.propose"
	methodReadPoint = "cluster.read-point"
	methodGossip    = "cluster.gossip"
	methodRemoved   = "cluster.removed"
	methodLease     = "cluster.lease"
	methodFence     = "cluster.fence"
	methodReleased  = "cluster.released"
)

const (
	// enqueueTimeout is how long a command waits for Raft's main loop, which
	// may be busy writing. After that it is certainly not done.
	enqueueTimeout = 2 * time.Second
	// retryAfter is how long to wait before asking again when nothing has
	// changed in between.
	retryAfter = 25 * time.Millisecond
)

// errBusy: the leader takes no commands right now. Not done; worth a retry.
var errBusy = fmt.Errorf("the leader takes no commands at the moment: %w", ErrNotDone)

// Committed is a command that is applied.
type Committed struct {
	Index uint64 // its place in the log
	Reply []byte // what the state machine answered
	Fence uint64 // see [Reply]; released
}

// Propose proposes a command (1 byte to [MaxCommand]) and returns when it is
// applied on the leader and on this node, and what it says is released. Any node takes it; a follower passes
// it to the leader, and to the next one as long as the command was certainly
// not proposed and ctx lasts. Every error is either [ErrNotDone] or
// [ErrOutcomeUnknown].
func (n *Node) Propose(ctx context.Context, data []byte) (Committed, error) {
	switch {
	case len(data) == 0:
		return Committed{}, fmt.Errorf("a command without bytes: %w", ErrNotDone)
	case len(data) > MaxCommand:
		return Committed{}, ErrTooLarge
	}
	var committed Committed
	err := n.atLeader(ctx, retryNotDone, func(e *epoch) (err error) {
		if e.leader == n.cfg.NodeID {
			committed, err = n.proposeHere(ctx, data)
		} else {
			committed, err = n.proposeThrough(ctx, e, data)
		}
		return err
	})
	if err != nil {
		return Committed{}, err
	}
	if err := n.applied.wait(ctx, n.ended, committed.Index); err != nil {
		return Committed{}, fmt.Errorf("%w: committed at %d, not applied on this node yet", ErrOutcomeUnknown, committed.Index)
	}
	if err := n.Released(ctx, committed.Fence); err != nil {
		return Committed{}, fmt.Errorf("%w: committed at %d: %w", ErrOutcomeUnknown, committed.Index, err)
	}
	return committed, nil
}

// atLeader runs do with the leader of the moment until it succeeds, or fails
// with an error that again does not want retried, or ctx ends.
func (n *Node) atLeader(ctx context.Context, again func(error) bool, do func(*epoch) error) error {
	err := ErrNoLeader
	for {
		changed := n.view.changed()
		if n.open.Err() != nil {
			return ErrStopped
		}
		if ctx.Err() == nil {
			if e := n.epoch.Load(); e.leader == "" {
				err = ErrNoLeader
			} else if err = do(e); err == nil || !again(err) {
				return err
			}
		}
		timer := time.NewTimer(retryAfter)
		select {
		case <-changed:
		case <-timer.C:
		case <-n.open.Done():
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil && n.open.Err() == nil {
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// retryNotDone is for what may be done once only.
func retryNotDone(err error) bool {
	return errors.Is(err, ErrNotLeader) || errors.Is(err, errBusy) || errors.Is(err, ErrUnreachable)
}

// proposeHere proposes on this node, the leader, once it is ready.
func (n *Node) proposeHere(ctx context.Context, data []byte) (Committed, error) {
	if err := n.waitReady(ctx); err != nil {
		return Committed{}, err
	}
	if n.cfg.Prepare != nil {
		prepared, err := n.cfg.Prepare(data, n.awaitNow(ctx))
		switch {
		case err != nil:
			return Committed{}, &refused{err}
		case len(prepared) == 0 || len(prepared) > MaxCommand:
			return Committed{}, &refused{ErrTooLarge}
		}
		data = prepared
	}
	return n.replicate(ctx, data)
}

// refused is Prepare's error. It unwraps to ErrNotDone as well.
type refused struct{ why error }

func (r *refused) Error() string   { return "refused by the leader: " + r.why.Error() }
func (r *refused) Unwrap() []error { return []error{r.why, ErrNotDone} }

// waitReady waits until this node is ready to lead in the term in which it
// leads. A node that does not lead is told so at once.
func (n *Node) waitReady(ctx context.Context) error {
	for {
		changed := n.view.changed()
		term, ok := n.leads()
		switch {
		case !ok:
			return n.notLeader()
		case n.readyTerm.Load() == term:
			return nil
		}
		select {
		case <-changed:
		case <-n.open.Done():
			return ErrStopped
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
		}
	}
}

func (n *Node) notLeader() error {
	leader, _ := n.Leader()
	if leader == n.cfg.NodeID { // not any more
		leader = ""
	}
	return &NotLeaderError{Leader: leader}
}

// replicate puts an entry into the log through this node's Raft and waits until
// it is applied here. No data makes a barrier mark.
func (n *Node) replicate(ctx context.Context, data []byte) (Committed, error) {
	select {
	case n.inFlight <- struct{}{}:
	case <-n.open.Done():
		return Committed{}, ErrStopped
	case <-ctx.Done():
		return Committed{}, fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
	}
	var committed Committed
	result := make(chan Committed, 1)
	err := n.awaitOf(ctx, &n.applying, func() error {
		// A slot is held until Raft has answered, however long the caller waits.
		defer func() { <-n.inFlight }()
		c, err := n.apply(data)
		result <- c
		return err
	})
	if errors.Is(err, ErrStopped) { // the function was not called
		<-n.inFlight
	}
	if err == nil {
		committed = <-result
	}
	return committed, err
}

// apply is raft.Apply with its errors told apart.
func (n *Node) apply(data []byte) (Committed, error) {
	future := n.raft.Apply(data, enqueueTimeout)
	err := future.Error()
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		n.transfers.answered()
	} else if n.transfers.refused(n.cfg.Clock()) {
		n.fatal(errStuck)
	}
	switch {
	case err == nil:
		if failed, ok := future.Response().(error); ok {
			return Committed{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, failed)
		}
		reply, _ := future.Response().(Reply)
		return Committed{Index: future.Index(), Reply: reply.Data, Fence: reply.Fence}, nil
	case errors.Is(err, raft.ErrNotLeader):
		return Committed{}, n.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return Committed{}, fmt.Errorf("%w: %w", errBusy, err)
	}
	// Leadership lost, shut down, a failed log write: it may be in a log that
	// a later leader completes.
	return Committed{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// The answer to methodPropose: one byte, then
//
//	committed  the index, the fence, what is released (8 bytes each, big-endian) and the reply
//	refused    the error of Prepare, encoded
const (
	answerCommitted = 0
	answerRefused   = 1
)

// proposeThrough has the leader propose.
func (n *Node) proposeThrough(ctx context.Context, e *epoch, data []byte) (Committed, error) {
	answer, err := n.callIn(ctx, e.late, e.leader, methodPropose, data)
	switch {
	case err == nil && len(answer) >= 25 && answer[0] == answerCommitted:
		n.released.advance(binary.BigEndian.Uint64(answer[17:]))
		return Committed{Index: binary.BigEndian.Uint64(answer[1:]), Fence: binary.BigEndian.Uint64(answer[9:]), Reply: answer[25:]}, nil
	case err == nil && len(answer) > 1 && answer[0] == answerRefused:
		return Committed{}, &refused{transport.DecodeError(answer[1:])}
	case err == nil:
		return Committed{}, fmt.Errorf("%w: node %s answered in an unknown form", ErrOutcomeUnknown, e.leader)
	case errors.Is(err, ErrNotDone), errors.Is(err, ErrOutcomeUnknown):
		return Committed{}, err
	}
	return Committed{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// servePropose answers methodPropose. It never passes the command on: one hop
// is all that a command makes.
func (n *Node) servePropose(ctx context.Context, peer string, data []byte) ([]byte, error) {
	if n.cfg.MayPropose != nil && peer != n.cfg.NodeID && !n.cfg.MayPropose(peer) {
		return nil, fmt.Errorf("node %s may replicate, but not propose: %w", peer, ErrNotDone)
	}
	if len(data) == 0 || len(data) > MaxCommand {
		return nil, ErrTooLarge
	}
	committed, err := n.proposeHere(ctx, data)
	var refusal *refused
	switch {
	case errors.As(err, &refusal):
		return append([]byte{answerRefused}, transport.EncodeError(refusal.why, func(err error) {
			n.log.Error("preparing a command", "err", err)
		})...), nil
	case err != nil:
		return nil, err
	}
	// The fence is waited for here, to save its way; a node that leads no more
	// says what it knows, and the other one asks whoever leads then.
	fenced, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.epoch.Load().over, cancel)()
	if err := n.awaitReleased(fenced, committed.Fence); err != nil {
		n.log.Debug("a fence is left to the next leader", "index", committed.Index, "err", err)
	}
	answer := binary.BigEndian.AppendUint64([]byte{answerCommitted}, committed.Index)
	answer = binary.BigEndian.AppendUint64(answer, committed.Fence)
	answer = binary.BigEndian.AppendUint64(answer, n.released.load())
	return append(answer, committed.Reply...), nil
}
