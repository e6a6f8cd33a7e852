package kms

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
)

// What a call is answered from (DESIGN: consistency).
//
//   - A use of a key is answered from this node's own state while the node holds a
//     serving lease, without asking anybody. That is for a yes. A no that another
//     state might not say is asked for again, of the newest state.
//   - Everything else is answered from a state that holds everything acknowledged
//     before the call. A use for which this node has none is sent on to a peer
//     that may answer it (stranded.go).
//   - Whatever the answer: it is given when the fenced commands that it may follow
//     from are released, so that nobody is told the older thing afterwards.

// uses are the operations that a serving lease is for. What is not here is
// management.
var uses = map[Operation]bool{
	OpCreateDataKey:                  true,
	OpCreateDataKeyWithoutPlaintext:  true,
	OpCreateDataKeys:                 true,
	OpCreateDataKeysWithoutPlaintext: true,
	OpEncryptDataKey:                 true,
	OpDecryptDataKey:                 true,
	OpEncryptData:                    true,
	OpDecryptData:                    true,
	OpReEncrypt:                      true,
	OpGenerateRandom:                 true,
	OpSign:                           true,
	OpVerify:                         true,
	OpGenerateMAC:                    true,
	OpVerifyMAC:                      true,
	OpCreateRSADataKeyPair:           true,
	OpCreateECDataKeyPair:            true,
	OpDeriveSharedSecret:             true,
}

// Uses says whether the operation uses keys, rather than to manage them.
func (o Operation) Uses() bool { return uses[o] }

// ofOneKey are the operations of management whose answer follows from what is said
// of one key and of its project alone, so that a fenced command about another key,
// which may take a lease's length when a node is lost, delays none of them. Of
// commands that is said by [command.Type.OfOneKey].
var ofOneKey = map[Operation]bool{
	OpDescribeKey:               true,
	OpEnableKey:                 true,
	OpDisableKey:                true,
	OpUpdateKeyDescription:      true,
	OpScheduleKeyDeletion:       true,
	OpCancelKeyDeletion:         true,
	OpEnableDeletionProtection:  true,
	OpDisableDeletionProtection: true,
	OpEnableKeyRotation:         true,
	OpUpdateRotationInterval:    true,
	OpDisableKeyRotation:        true,
	OpGetRotationStatus:         true,
	OpRotateOnDemand:            true,
	OpListKeyVersions:           true,
	OpCreateGrant:               true,
	OpGetPublicKey:              true,
}

// decide runs do with a state that it may be answered from, and returns the call
// with the answer, for which everything that has to be waited for has been.
func (s *Service) decide(ctx context.Context, in Incoming, do func(ctx context.Context, c *Call) error) (*Call, error) {
	// A call is new memory, the one large piece that a request costs: used again,
	// it could show one caller what another was told.
	c := s.call(in, time.Now())
	if in.Operation.Uses() {
		if age, may := s.mayUseOwn(); may {
			c.Root = s.replica.Root() // after the look at the lease
			err := doIn(ctx, c, do)
			if err == nil || settled(err) {
				if age > 0 && in.Aged != nil {
					in.Aged(age)
				}
				if age == 0 {
					err = s.told(ctx, c, err)
				}
				return c, err
			}
			c = s.call(in, c.started)
		}
	}
	answered, err := s.reach(ctx, c)
	switch {
	case answered != nil:
		c = answered
	case err == nil:
		c.Root = s.replica.Root()
		err = doIn(ctx, c, do)
		err = s.told(ctx, c, err)
	}
	return c, err
}

func (s *Service) call(in Incoming, started time.Time) *Call {
	c := &Call{in: in, started: started, accesses: &s.accesses}
	switch {
	case in.Operation == OpFollowTraces: // it waits, and does nothing meanwhile
	case in.Operation.Uses():
		c.lane = s.lanes.Uses
	default:
		c.lane = s.lanes.Others
	}
	return c
}

// doIn runs do, after which the call's place is somebody else's.
func doIn(ctx context.Context, c *Call, do func(ctx context.Context, c *Call) error) error {
	defer c.leave()
	return do(ctx, c)
}

// mayUseOwn says whether this node's own state may answer a use, and how old it
// may be where that is more than a lease allows.
func (s *Service) mayUseOwn() (age time.Duration, may bool) {
	cluster := s.replica.Root().Cluster()
	switch {
	case cluster == nil || cluster.Consistency == state.ConsistencyStrict:
		return 0, false
	case s.replica.Serving():
		return 0, true
	case cluster.Consistency != state.ConsistencyAvailable:
		return 0, false
	}
	age, known := s.replica.Age()
	return max(age, 1), known && age <= time.Duration(cluster.MaxAge)*time.Millisecond
}

// HasState returns nil while this node's own state may answer, and else why not.
// It asks nobody.
func (s *Service) HasState() error {
	if s.replica.Root().Cluster() == nil {
		return errors.New("it has no state of its cluster yet")
	}
	if _, may := s.mayUseOwn(); may || s.replica.Serving() {
		return nil
	}
	return errors.New("it holds no serving lease: it cannot reach a leader that a majority of the members confirms")
}

// settled says whether no other state would have changed this answer to the
// better.
func settled(err error) bool {
	if denied, ok := errors.AsType[*iam.Error](err); ok {
		return denied.Settled()
	}
	if errors.Is(err, iam.ErrThrottled) {
		return true
	}
	if failed, ok := errors.AsType[*Error](err); ok {
		switch failed.Kind {
		case KindInvalid, KindUnavailable, KindOutcomeUnknown, KindTraceFailed:
			return true
		}
	}
	return false
}

// told waits until the call's answer may be given, and returns it; or the reason
// why it is not.
func (s *Service) told(ctx context.Context, c *Call, answer error) error {
	fence := s.fenceOf(c, answer)
	if fence == 0 {
		return answer
	}
	err := s.replica.Released(ctx, fence)
	switch {
	case err == nil:
		return answer
	case answer != nil && !IsRefusal(KindOf(answer)):
		return answer // it tells nothing of the state
	case c.proposed:
		return &Error{Kind: KindOutcomeUnknown, Message: "the change was made, but it is not known yet that every node follows it; ask for its state before trying again", Err: err}
	default:
		return unreleased(err)
	}
}

// unreleased is why an answer is not given whose state not every node follows yet.
func unreleased(err error) error {
	return &Error{Kind: KindUnavailable, Message: "a change that this answer depends on is not known to every node yet; try again", Err: err}
}

// Settled returns a state that an answer may tell of as a whole: it holds what was
// committed before the call, and no node serves from one before it.
func (s *Service) Settled(ctx context.Context) (*state.Root, error) {
	if err := s.Current(ctx); err != nil {
		return nil, err
	}
	root := s.replica.Root()
	ctx, cancel := context.WithTimeout(ctx, currentTimeout)
	defer cancel()
	if err := s.replica.Released(ctx, root.LastFence()); err != nil {
		return nil, unreleased(err)
	}
	return root, nil
}

// fenceOf is the last fenced command that a call's answer may follow from; 0: none.
func (s *Service) fenceOf(c *Call, answer error) uint64 {
	switch {
	case answer != nil && settled(answer):
		return 0
	case answer != nil:
		return c.Root.LastFence()
	case c.in.Operation.Uses() && c.key == nil:
		return c.Root.FenceOf(c.in.Project, "")
	}
	root := c.Root
	if c.proposed { // it has changed something, and may show it
		root = s.replica.Root()
	}
	switch {
	case c.key != nil && (c.in.Operation.Uses() || ofOneKey[c.in.Operation]):
		return max(c.fenceAbout(root, c.key), c.fenceAbout(root, c.other))
	case c.in.Project == "" || c.abroad:
		return root.LastFence()
	}
	return root.FenceWithin(c.in.Project)
}

// fenceAbout is the last fenced command about one of the call's keys; nil: none. One
// of another project is used by a grant, which its own project's fence knows of.
func (c *Call) fenceAbout(root *state.Root, key *state.Key) uint64 {
	switch {
	case key == nil:
		return 0
	case key.ProjectID == c.in.Project:
		return root.FenceOf(c.in.Project, key.ID)
	}
	return max(root.FenceOf(c.in.Project, key.ID), root.FenceOf(key.ProjectID, key.ID))
}

// SetConsistency changes what uses of keys are answered from, for the whole
// cluster. Where nodes were allowed an old state it returns when none may use it
// any more, also where that was changed by a call before, whose caller did not wait.
func (s *Service) SetConsistency(ctx context.Context, requestID string, body command.SetConsistency) error {
	in := Incoming{Operation: OpSetConsistency, RequestID: requestID, Source: "admin socket"}
	if requestID == "" {
		in.RequestID = uuid.NewString()
	}
	err := s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		_, err := s.propose(ctx, c, body, body.Mode.String())
		return err
	})
	if err != nil {
		return err
	}
	root := s.replica.Root()
	left := time.Duration(root.Cluster().StaleUntil-root.Now()) * time.Millisecond
	if left <= 0 {
		return nil
	}
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return &Error{Kind: KindOutcomeUnknown, Message: "the mode was changed; nodes without contact may still use the older one: set the mode again to wait until none does", Err: context.Cause(ctx)}
	}
}
