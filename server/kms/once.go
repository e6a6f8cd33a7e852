package kms

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Once makes requests that a client repeats, because it does not know whether an
// earlier one was carried out, one change with one answer. Its token becomes the
// id of the proposal, so the state does the rest: a proposal that was answered
// before gets the answer of the first time (see fsm/replies.go).
//
// What the state keeps of an answer is what a change answers with, which holds
// no secret, for 15 minutes or 65,536 changes.
type Once struct {
	// Token names what the client wants done once: text of the dialect's choosing;
	// empty: each request is one of its own. It is one principal's and one operation's.
	Token string
	// Request is the hash of all that was asked for. Another one under the same
	// token is a conflict.
	Request [sha256.Size]byte
	// Age is how long ago the client has sent the first one; 0: this is the
	// first. A repeat that the state could have forgotten is refused as
	// unknown, instead of done a second time.
	Age time.Duration
}

// underway is how long a repeat may have been on its way after its sender has
// written down the age, and how much clocks may differ, at most: the first one is
// taken for that much older.
const underway = 30 * time.Second

// TakesToken says whether repeats of the operation can be told from new requests
// by a token. Where not, asking twice either does no harm or its answer holds
// what nothing keeps.
func (o Operation) TakesToken() bool {
	switch o {
	case OpCreateKey, OpEnableKey, OpDisableKey, OpUpdateKeyAlias, OpUpdateKeyDescription,
		OpScheduleKeyDeletion, OpCancelKeyDeletion, OpEnableDeletionProtection, OpDisableDeletionProtection,
		OpCreateAlias, OpAssociateAlias, OpDeleteAliases,
		OpEnableKeyRotation, OpUpdateRotationInterval, OpDisableKeyRotation, OpRotateOnDemand,
		OpCreateGrant, OpRevokeGrant, OpRetireGrant,
		OpCreateTag, OpDeleteTag, OpBatchTags, OpSetQuotas,
		OpImportKeyMaterial, OpDeleteKeyMaterial:
		return true
	default:
		return false
	}
}

// proposal is the next proposal of a call with a token. Its id is of the
// principal, the operation and the token, and of its place among the proposals
// of the call, since there are calls that make several. An answer that somebody
// else came in between ([fsm.CodeStale]) is no last word: a repeat makes the next one.
func (c *Call) proposal(root *state.Root, typ command.Type) command.Proposal {
	for ; ; c.proposals++ {
		p := c.proposalAt(typ, c.proposals)
		reply, answered := root.Reply(p.ID)
		if !answered {
			return p
		}
		result, err := fsm.DecodeResult(reply.Result)
		if err != nil || result.Refusal == nil || result.Refusal.Code != fsm.CodeStale {
			return p
		}
	}
}

func (c *Call) proposalAt(typ command.Type, place int) command.Proposal {
	h := sha256.New()
	var n [8]byte
	for _, part := range []string{"raftkms idempotency token v1", c.caller.UserID, c.in.Operation.Name, c.in.Once.Token, strconv.Itoa(place)} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	return command.Proposal{
		ID:   "once-" + base64.RawURLEncoding.EncodeToString(h.Sum(nil)),
		Hash: hashRequest(typ, c.in.Project, []string{"once", string(c.in.Once.Request[:])}),
	}
}

// repeated returns the answer of the first time, where the same request of the
// same caller under the same token was answered before. It comes before the
// checks that a change has made fail by itself, and before authorisation, as
// where commands are applied: the caller was allowed then, and it is done.
func (c *Call) repeated(typ command.Type) (result fsm.Result, known bool, err error) {
	if c.in.Once.Token == "" {
		return fsm.Result{}, false, nil
	}
	p := c.proposal(c.Root, typ)
	reply, answered := c.Root.Reply(p.ID)
	if !answered || reply.Asked != fsm.Asked(typ, c.caller.Kind, c.caller.UserID, p.Hash) {
		return fsm.Result{}, false, nil // what is in the way of another request, apply says
	}
	result, err = fsm.DecodeResult(reply.Result)
	if err != nil {
		return fsm.Result{}, false, &Error{Kind: KindInternal, Message: "reading the answer of the first time", Err: err}
	}
	c.answered.Flag("repeated", true)
	if result.Refusal != nil {
		return result, true, fromRefusal(result.Refusal)
	}
	if was, err := result.Key(); err == nil {
		if key, exists := c.Root.Key(was.KeyID); exists && key.ProjectID == c.in.Project {
			c.key = key // for the trace
		}
	}
	return result, true, nil
}

// repeatedKey is repeated for changes of a key, of which it returns what the
// answer said.
func (c *Call) repeatedKey(typ command.Type) (key *state.Key, known bool, err error) {
	result, known, err := c.repeated(typ)
	if !known || err != nil {
		return nil, known, err
	}
	was, err := result.Key()
	if err != nil {
		return nil, true, &Error{Kind: KindInternal, Message: "reading the answer of the first time", Err: err}
	}
	return &state.Key{ID: was.KeyID, DomainID: was.DomainID, Name: was.Name, State: was.State, Created: was.Created}, true, nil
}
