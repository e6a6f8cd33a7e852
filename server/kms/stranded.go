package kms

import (
	"context"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// A node is stranded that holds no serving lease and can prove no state to be
// current, while others can: its way to the leader is cut, or the leader has yet
// to hear from it. A use of a key is then sent on to a peer with a lease. What
// this node knows, however old, tells who asks, by a secret that only they hold;
// the peer decides everything else.

const (
	// strandedAfter is how long a use waits for current state before a peer is
	// asked: longer than an election takes, mostly.
	strandedAfter = 2 * time.Second
	// strandedPatience bounds the asking. No peer that has a state which may
	// answer needs as long.
	strandedPatience = 3 * time.Second
)

// reach returns when this node's state is current or, where it is stranded, with
// a call that a peer has answered; nil: none has.
func (s *Service) reach(ctx context.Context, c *Call) (answered *Call, err error) {
	if c.in.Stranded == nil || !c.in.Operation.Uses() || s.replica.Serving() || s.replica.Root().Cluster() == nil {
		return nil, s.Current(ctx)
	}
	// Once it was found out, nobody waits for it again: that it is over is seen by
	// a lease, or where no peer answers either.
	patience := currentTimeout
	if !s.stranded.Load() {
		patience -= strandedAfter
		if err = s.current(ctx, strandedAfter); err == nil || s.replica.Serving() {
			return nil, err
		}
		s.stranded.Store(true)
	}
	asking := s.call(c.in, c.started)
	asking.Root = s.replica.Root()
	asked, cancel := context.WithTimeout(ctx, strandedPatience)
	defer cancel()
	var is bool
	err = doIn(asked, asking, func(ctx context.Context, c *Call) (err error) {
		is, err = c.in.Stranded(ctx, c)
		return err
	})
	if is {
		return asking, err
	}
	if err = s.current(ctx, patience); err == nil {
		s.stranded.Store(false)
	}
	return nil, err
}

// Findings are what a call has found out for its trace, in the terms of
// [audit.Record]: of a call that a peer has done they come with its answer.
type Findings struct {
	ResourceID   string       `cbor:"1,keyasint,omitempty"`
	ResourceName string       `cbor:"2,keyasint,omitempty"`
	OtherID      string       `cbor:"3,keyasint,omitempty"`
	Owners       [2]string    `cbor:"4,keyasint"`
	Rating       audit.Rating `cbor:"5,keyasint,omitempty"`
	Message      string       `cbor:"6,keyasint,omitempty"`
	Asked        []byte       `cbor:"7,keyasint,omitempty"` // see [audit.Details.Encoded]
	Answered     []byte       `cbor:"8,keyasint,omitempty"`
}

// Findings are those of the call so far.
func (c *Call) Findings() *Findings {
	c.find()
	return &Findings{
		ResourceID: c.record.ResourceID, ResourceName: c.record.ResourceName, OtherID: c.record.OtherID, Owners: c.record.Owners,
		Rating: c.record.Rating, Message: c.record.Message, Asked: c.asked.Encoded(), Answered: c.answered.Encoded(),
	}
}

// Adopt has the call's trace tell what a peer has found out that has done it.
func (c *Call) Adopt(f *Findings) {
	c.record.ResourceID, c.record.ResourceName, c.record.OtherID, c.record.Owners = f.ResourceID, f.ResourceName, f.OtherID, f.Owners
	c.Remark(f.Rating, f.Message)
	c.asked.Adopt(f.Asked)
	c.answered.Adopt(f.Answered)
	c.adopted = true
}

// find puts into the call's record what the call has found out.
func (c *Call) find() {
	if c.adopted {
		return
	}
	r := &c.record
	if c.key != nil {
		r.ResourceID, r.ResourceName = c.key.ID, c.key.Name
	}
	if c.other != nil && c.other.ID != r.ResourceID {
		r.OtherID = c.other.ID
	}
	r.Owners = c.owners()
	if c.by[0] != nil {
		c.asked.Text("by_grant", c.by[0].ID)
	}
	if c.by[1] != nil {
		c.asked.Text("by_second_grant", c.by[1].ID)
	}
}
