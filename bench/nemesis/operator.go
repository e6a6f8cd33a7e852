package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Operator does to a cluster what its operators do, over the nodes' admin
// sockets. A node that is not named is the implementation's to choose.
type Operator interface {
	// Transfer hands leadership to another node.
	Transfer(ctx context.Context) error
	// Demote takes a node's vote, Promote gives it back.
	Demote(ctx context.Context, node string) error
	Promote(ctx context.Context, node string) error
	// Replace takes a node out of the cluster and has it join anew, empty; it
	// returns when the node has a vote.
	Replace(ctx context.Context, node *Process) error
	// Strictly has every use of a key ask for a read index, or takes that back.
	Strictly(ctx context.Context, strictly bool) error
	// Compact has the nodes that are up cut off their logs; without is down.
	Compact(ctx context.Context, without string) error
}

// transferPeriod is the time between two transfers of a storm, where it is not
// shorter itself; minTransfers is how many there are at least.
const (
	transferPeriod = time.Second
	minTransfers   = 3
)

// operate does what an operator might, at a bad time.
func (n *Nemesis) operate(ctx context.Context, a Action, victims []*Process) (detail string, err error) {
	first := victims[0]
	switch a.Kind {
	case TransferStorm:
		return n.transfers(ctx, a.Length)
	case DemoteOne:
		if err := n.Operator.Demote(ctx, first.ID()); err != nil {
			return "", err
		}
		sleep(ctx, a.Length)
		return "", n.Operator.Promote(ctx, first.ID())
	case StrictMode:
		if err := n.Operator.Strictly(ctx, true); err != nil {
			return "", err
		}
		sleep(ctx, a.Length)
		return "", n.Operator.Strictly(ctx, false)
	case ReplaceOne:
		return "", n.Operator.Replace(ctx, first)
	default: // LeaveBehind
		if err := first.Kill(); err != nil {
			return "", err
		}
		return "", n.Operator.Compact(ctx, first.ID())
	}
}

// transfers hands leadership on, every second or more often. One that is refused or comes to
// nothing, as while an election is under way, is tried again; all of them do not.
func (n *Nemesis) transfers(ctx context.Context, length time.Duration) (detail string, err error) {
	done := 0
	var problems []error
	for begin := time.Now(); done < minTransfers || time.Since(begin) < length; {
		if err := n.Operator.Transfer(ctx); err == nil {
			done++
		} else if problems = append(problems, err); len(problems) >= 10*(done+minTransfers) {
			return "", fmt.Errorf("%d of %d transfers came to nothing: %w", len(problems), done+len(problems), errors.Join(problems[:3]...))
		}
		sleep(ctx, min(transferPeriod, length))
	}
	return fmt.Sprintf("%d transfers, %d that came to nothing", done, len(problems)), nil
}
