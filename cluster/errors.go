package cluster

import (
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/cluster/transport"
)

// Kinds of failure. Every error of [Node.Propose] is exactly one of ErrNotDone
// and ErrOutcomeUnknown; the others say more.
var (
	// ErrNotDone: the command was not proposed and never will be.
	ErrNotDone = errors.New("not done")
	// ErrOutcomeUnknown: the command may have been applied, may yet be, or may
	// never be. The caller asks again under the same proposal id.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrNoLeader: no leader was found in the time given. Not done.
	ErrNoLeader = fmt.Errorf("no leader is known: %w", ErrNotDone)
	// ErrNotLeader: this node, or the one asked, does not lead. Not done. See
	// [NotLeaderError].
	ErrNotLeader = fmt.Errorf("not the leader: %w", ErrNotDone)
	// ErrStopped: the node is closed or has failed. Not done.
	ErrStopped = fmt.Errorf("the node is stopped: %w", ErrNotDone)
	// ErrTooLarge: the command is larger than [MaxCommand]. Not done.
	ErrTooLarge = fmt.Errorf("the command is too large: %w", ErrNotDone)
	// ErrMajority: without a member the others would be no majority of voters that
	// answer, and the cluster could decide nothing, not even to take it back. Not
	// done.
	ErrMajority = fmt.Errorf("the cluster would lose its majority: %w", ErrNotDone)
	// ErrHasState: the node belongs to a cluster already.
	ErrHasState = errors.New("the node already has the state of a cluster")
	// ErrDiverged is what Config.Fatal is told by a node whose state is not that
	// of the others. Its data must not be used; it joins again as a new node.
	ErrDiverged = errors.New("this node's state has diverged")
	// ErrRemoved is what Config.Fatal is told by a node that was removed.
	ErrRemoved = errors.New("the node has been removed from the cluster")
	// ErrUnreachable: there was no connection to the node called. Not done.
	ErrUnreachable = fmt.Errorf("unreachable: %w", ErrNotDone)
)

// RemoteError is an error that a handler sends to its caller on another node;
// see transport.RemoteError.
type RemoteError = transport.RemoteError

// NotLeaderError is ErrNotLeader with the node that leads, as far as is known.
type NotLeaderError struct {
	Leader string // node id; empty when none is known
}

// Error names the leader, if there is one.
func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and no leader is known"
	}
	return "this node does not lead; node " + e.Leader + " does"
}

// Is makes the error both ErrNotLeader and ErrNotDone.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader || target == ErrNotDone }

// Codes under which this package's errors travel between nodes.
const (
	codeNotLeader      = "not_leader"
	codeNotDone        = "not_done"
	codeOutcomeUnknown = "outcome_unknown"
	codeDiverged       = "diverged"
	codeLeaderBusy     = "leader_busy"
)

// toRemote gives an error the form in which it travels. An error of another
// room, which already has it, passes; the rest is for the log only.
func toRemote(err error) error {
	var notLeader *NotLeaderError
	var remote *RemoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote):
		return remote
	case errors.As(err, &notLeader):
		return &RemoteError{Code: codeNotLeader, Message: notLeader.Error(), Node: notLeader.Leader}
	case errors.Is(err, errBusy):
		return &RemoteError{Code: codeLeaderBusy, Message: err.Error()}
	case errors.Is(err, ErrOutcomeUnknown):
		return &RemoteError{Code: codeOutcomeUnknown, Message: err.Error()}
	case errors.Is(err, ErrNotDone):
		return &RemoteError{Code: codeNotDone, Message: err.Error()}
	}
	return err
}

// fromCall turns the error of a call into one of this package's kinds; what a
// handler of another room answered passes as it is.
func fromCall(err error) error {
	var remote *RemoteError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote):
		switch remote.Code {
		case codeNotLeader:
			return &NotLeaderError{Leader: remote.Node}
		case codeOutcomeUnknown:
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, remote)
		case codeLeaderBusy:
			return fmt.Errorf("%w: %w", errBusy, remote)
		case codeNotDone, transport.CodeUnknownMethod, transport.CodeBusy:
			return fmt.Errorf("%w: %w", ErrNotDone, remote)
		}
		return remote
	case errors.Is(err, transport.ErrUnreachable):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}
