package fsm

import (
	"crypto/sha256"
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The reply cache makes a command apply at most once: the answer to a proposal
// is kept under its id, and a repeat gets that answer.
//
// Invariant: a proposal whose first attempt lies at or after the horizon
// either has its answer in the cache or has never been answered from it. For an
// answer leaves the cache only when its First falls behind the horizon, and
// from then on every repeat, whose First is no later, is refused as
// outcome-unknown. Not knowing is said, never guessed.
//
// Kept are answers and refusals alike, so that a client that repeats a call
// gets one answer and not two. Not kept are refusals that are not about the
// write itself:
//
//   - unauthenticated, forbidden, and the not-found of a key that the caller may
//     not know of depend on who asks at that moment: kept, they would outlive
//     the mistake in a policy, and somebody who may nothing could fill the cache;
//   - proposal-conflict and outcome-unknown are about the cache, and the first
//     leaves the id's true answer in place;
//   - not-bootstrapped and feature-level pass by themselves, and the repeat
//     that comes after them is meant to succeed.
//
// The answer of the first time comes before authorisation: the caller is the
// same (see asked), was allowed then, and the write is done. To say "forbidden"
// now would deny a write that happened.
const (
	// replyAge is how long an answer is kept, in replicated milliseconds.
	replyAge = 15 * 60 * 1000
	// maxReplies bounds the cache. When more are written within replyAge, the
	// horizon follows the oldest answer that is left.
	maxReplies = 65_536
	// maxFirstAhead bounds, in milliseconds, how far the clock that stamped a
	// first attempt may have run ahead of replicated time. Without it one
	// leader with a wrong clock could push the horizon into the future.
	maxFirstAhead = 60 * 1000
)

// advanceClock moves replicated time to a command's, never back, and lets go
// of the answers that this puts behind the horizon.
func advanceClock(x *state.Txn, to int64) {
	if to <= x.Now() {
		return
	}
	clock := state.Clock{Now: max(to, x.Now()), Horizon: x.Horizon()}
	clock.Horizon = max(clock.Horizon, clock.Now-replyAge)
	x.PutClock(&clock)
	expireReplies(x)
}

// checkAge refuses a proposal that cannot be told from a repeat.
func checkAge(x *state.Txn, first int64) *Refusal {
	switch {
	case first < x.Horizon():
		return refuse(CodeOutcomeUnknown, "the first attempt is too long ago to know whether it was done")
	case first > x.Now()+maxFirstAhead:
		return refuse(CodeOutcomeUnknown, "the first attempt lies in the future of the cluster")
	default:
		return nil
	}
}

// repeat answers a proposal that was answered before.
func repeat(reply *state.Reply, cmd command.Command, index uint64) (Result, error) {
	if reply.Asked != asked(cmd) {
		return refused(index, refuse(CodeProposalConflict, "this proposal id was used for another request")), nil
	}
	result, err := DecodeResult(reply.Result)
	if err != nil {
		return Result{}, fmt.Errorf("repeating the answer of entry %d: %w", reply.Index, err)
	}
	return result, nil
}

// keepReply keeps the answer to a command.
func keepReply(x *state.Txn, cmd command.Command, r Result) {
	x.PutReply(&state.Reply{
		ProposalID: cmd.Proposal.ID,
		Asked:      asked(cmd),
		First:      cmd.Proposal.First,
		Index:      r.Index,
		Result:     r.Encode(),
	})
	if x.ReplyCount() > maxReplies {
		oldest, _ := x.OldestReply()
		x.PutClock(&state.Clock{Now: x.Now(), Horizon: oldest.First + 1})
		expireReplies(x)
	}
}

// expireReplies drops the answers whose first attempt is behind the horizon.
func expireReplies(x *state.Txn) {
	for {
		oldest, ok := x.OldestReply()
		if !ok || oldest.First >= x.Horizon() {
			return
		}
		x.DeleteReply(oldest)
	}
}

// asked identifies what was asked and by whom: a proposal id that comes back
// with another type, request or principal is a conflict.
func asked(cmd command.Command) [32]byte {
	return Asked(cmd.Type, cmd.Caller.Kind, cmd.Caller.UserID, cmd.Proposal.Hash)
}

// Asked is what a [state.Reply] says was asked for: by it a node knows, before
// it proposes, that a proposal was answered which is the same.
func Asked(typ command.Type, kind command.CallerKind, userID string, hash [32]byte) [32]byte {
	return sha256.Sum256(canonical.MustMarshal(struct {
		Type   command.Type       `cbor:"1,keyasint"`
		Kind   command.CallerKind `cbor:"2,keyasint"`
		UserID string             `cbor:"3,keyasint"`
		Hash   [32]byte           `cbor:"4,keyasint"`
	}{typ, kind, userID, hash}))
}
