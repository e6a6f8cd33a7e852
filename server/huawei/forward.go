package huawei

import (
	"context"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// Forwarded is a request that the node which received it cannot answer, because
// its module is gone or its state is too old: what a peer needs to answer it. It
// says who asks by their credential's id. The peer decides everything else from
// its own state.
type Forwarded struct {
	Method    string        `cbor:"1,keyasint"`
	URI       string        `cbor:"2,keyasint"` // path and query
	Body      []byte        `cbor:"3,keyasint"` // holds plaintext: the owner wipes it
	Source    string        `cbor:"4,keyasint"`
	UserAgent string        `cbor:"5,keyasint"`
	RequestID string        `cbor:"6,keyasint"`
	Principal iam.Principal `cbor:"7,keyasint"`
	// Changes is whether the operation may change the state, so that it must
	// not be asked of a second peer when the first may have done it.
	Changes bool `cbor:"8,keyasint"`
	// Token and Age are those of [kms.Once]; Age in milliseconds.
	Token string `cbor:"9,keyasint,omitempty"`
	Age   int64  `cbor:"10,keyasint,omitempty"`
	// Stranded asks for an answer from a state that the peer has already, or none.
	Stranded bool `cbor:"11,keyasint,omitempty"`
}

// Outcome is what the peer answers.
type Outcome struct {
	Status  int    `cbor:"1,keyasint"`
	Code    string `cbor:"2,keyasint,omitempty"`
	Message string `cbor:"3,keyasint,omitempty"`
	Body    []byte `cbor:"4,keyasint,omitempty"` // of a success; may hold plaintext

	Findings *kms.Findings `cbor:"5,keyasint,omitempty"` // for the trace; to who is stranded

	// StateAge is how old the state is that the answer is from, in ns; 0: as new as
	// any that was acknowledged.
	StateAge time.Duration `cbor:"6,keyasint,omitempty"`
}

// Elsewhere has a peer answer a request. Its error wraps what kept it from that.
type Elsewhere func(ctx context.Context, f *Forwarded) (Outcome, error)

// SetElsewhere says who answers what this node's module cannot; it comes before
// the first request.
func (d *Dialect) SetElsewhere(f Elsewhere) { d.elsewhere = f }

func forwarded(rc *fasthttp.RequestCtx, in kms.Incoming, caller iam.Principal) *Forwarded {
	return &Forwarded{
		Method: string(rc.Method()), URI: string(rc.RequestURI()), Body: rc.Request.Body(),
		Source: in.Source, UserAgent: in.UserAgent, RequestID: in.RequestID, Principal: caller,
		Changes: !in.Operation.Repeatable(), Token: in.Once.Token, Age: in.Once.Age.Milliseconds(),
	}
}

// forward has a peer answer. why is the local failure, which stands when no
// peer can either.
func (s *serving) forward(ctx context.Context, why error) error {
	out, err := s.dialect.elsewhere(ctx, forwarded(s.rc, s.in, s.x.caller))
	defer clear(out.Body)
	switch {
	case err != nil && kms.KindOf(err) == kms.KindOutcomeUnknown:
		return err
	case err != nil:
		return &kms.Error{Kind: kms.KindUnavailable, Message: "the module of this node does not serve, and no other node could answer; try again", Err: errors.Join(why, err)}
	}
	return s.pass(&out)
}

// pass takes a peer's answer for this node's own; a refusal is the error.
func (s *serving) pass(o *Outcome) error {
	if o.StateAge > 0 {
		s.setAge(o.StateAge)
	}
	if o.Code != "" {
		return &refusal{answer{o.Status, o.Code, o.Message}}
	}
	s.body.bytes = append(s.body.bytes, o.Body...)
	return nil
}

// sendOn has a peer answer a request for which this node's state is too old; see
// [kms.Incoming.Stranded]. An access key, or a token's id, stands for the same user
// in every state, and the peer looks whether it still counts. Whom the name that an
// identity provider vouches for stands for may have changed since.
func (s *serving) sendOn(ctx context.Context, c *kms.Call) (answered bool, err error) {
	d := s.dialect
	caller, err := d.identify(ctx, c, s.rc)
	if err != nil || s.unread != nil || caller.Via == command.ViaProvider {
		return false, nil
	}
	f := forwarded(s.rc, s.in, caller)
	f.Stranded = true
	out, err := d.elsewhere(ctx, f)
	defer clear(out.Body)
	if err != nil {
		return false, nil
	}
	if out.Findings != nil {
		c.Adopt(out.Findings)
	}
	return true, s.pass(&out)
}

// Answer does a forwarded request as this node's own: it waits for current
// state, asks whether the node that forwarded it is believed there, finds the
// credential there, authorises, and uses this node's module. The node that
// forwarded it writes the trace.
func (e *Endpoint) Answer(ctx context.Context, d *Dialect, f *Forwarded, believed func(root *state.Root) bool, path Path) Outcome {
	rc := new(fasthttp.RequestCtx)
	rc.Request.Header.SetMethod(f.Method)
	rc.Request.SetRequestURI(f.URI)
	rc.Request.Header.SetUserAgent(f.UserAgent)
	rc.Request.SetBodyRaw(f.Body)
	in := kms.Incoming{
		Operation: e.Operation, RequestID: f.RequestID, Source: f.Source, UserAgent: f.UserAgent, Project: path.Project,
		URL: string(rc.Path()), Forwarded: true,
	}
	if f.Token != "" && e.Operation.TakesToken() {
		in.Once = kms.Once{Token: f.Token, Age: time.Duration(f.Age) * time.Millisecond, Request: requestHash(rc)}
	}
	var out Outcome
	in.Aged = func(age time.Duration) { out.StateAge = age }
	err := d.service.Run(ctx, in, func(ctx context.Context, c *kms.Call) (err error) {
		if !believed(c.Root) {
			return kms.Refuse(kms.KindForbidden, "the node that sent the request on was not given the root keys")
		}
		if err := resolve(ctx, c, f.Principal); err != nil {
			return err
		}
		x := &exchange{Service: d.service, call: c, caller: f.Principal, path: path, agent: f.UserAgent}
		out.Body, err = e.perform(ctx, x, rc, nil)
		if f.Stranded {
			out.Findings = c.Findings()
		}
		return err
	})
	a := e.answerTo(err)
	out.Status = a.status
	if err != nil {
		clear(out.Body)
		out.Body, out.Code, out.Message = nil, a.code, a.message
	}
	return out
}

// resolve finds the credential that another node has seen proved, whatever
// kind it is of, in this node's own state: what is gone, disabled, revoked or
// over here is refused here.
func resolve(ctx context.Context, c *kms.Call, p iam.Principal) error {
	identified := c.Identify(ctx, p) // its refusal is for those who are somebody
	if err := c.Authenticate(); err != nil {
		return err
	}
	if user, ok := c.Root.User(p.UserID); !ok || user.DomainID != p.DomainID {
		return kms.Refuse(kms.KindUnauthenticated, "the user is not of that account")
	}
	return identified
}
