package iam

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Door finds out who asks, by whatever credential a request carries. It is
// safe for concurrent use.
type Door struct {
	signatures *Verifier
	tokens     *Tokens
	providers  *Providers
	clock      func() time.Time
	admit      func(userID string) bool // nil: everybody, always
}

// ErrThrottled says that a user who has been proved asks more often than they may.
var ErrThrottled = errors.New("the user asks more often than this node answers one user; try again")

// Limit has users admitted by a function; it comes before the first request.
func (d *Door) Limit(admit func(userID string) bool) { d.admit = admit }

// NewDoor returns a door that opens to signatures and to tokens; nil tokens:
// to signatures alone.
func NewDoor(signatures *Verifier, tokens *Tokens) *Door {
	return &Door{signatures: signatures, tokens: tokens, providers: NewProviders(signatures.clock), clock: signatures.clock}
}

// Identify returns who asks, as the given state knows them. A request whose
// credential proves nothing there is refused with an [*Error]; any other error
// says that it could not be found out. A token is looked at before a signature
// (as the vendor's gateway does), and one credential that proves nothing is
// not made good by another.
func (d *Door) Identify(ctx context.Context, root *state.Root, r *Request) (Principal, error) {
	p, err := d.identify(ctx, root, r)
	if err == nil && d.admit != nil && !d.admit(p.UserID) {
		return Principal{}, ErrThrottled
	}
	return p, err
}

func (d *Door) identify(ctx context.Context, root *state.Root, r *Request) (Principal, error) {
	token, n := r.header(headerToken)
	switch {
	case n == 1 && d.tokens != nil:
		return d.Token(ctx, root, token)
	case n > 0:
		return Principal{}, refuse(reasonToken)
	}
	header, n := r.header(headerAuthorization)
	switch {
	case n == 0 && len(r.Peer) > 0:
		return d.providers.Certificate(root, r.Peer)
	case n == 1 && len(header) > len(bearer) && sameName(header[:len(bearer)], []byte(bearer)):
		return d.providers.Bearer(ctx, root, header[len(bearer):])
	default:
		return d.signatures.Verify(ctx, root, r)
	}
}

// bearer is how an Authorization header with a bearer token begins.
const bearer = "bearer "

// Token returns whose token it is, while it counts.
func (d *Door) Token(ctx context.Context, root *state.Root, text []byte) (Principal, error) {
	t, err := d.tokens.Open(ctx, root, text)
	if err != nil {
		return Principal{}, err
	}
	user, domain, err := d.Standing(root, t)
	if err != nil {
		return Principal{}, err
	}
	return t.principal(user, domain), nil
}

// Standing returns whose token it is: the user's and the account's record, if
// the token still counts.
func (d *Door) Standing(root *state.Root, t *Token) (*state.User, *state.Domain, error) {
	caller := command.Caller{
		Kind: command.CallerUser, UserID: t.UserID, Via: command.ViaToken, CredentialID: hex.EncodeToString(t.ID[:]),
		Epoch: t.Epoch, Expires: t.Expires,
	}
	user, domain, refusal := fsm.Authenticate(root, caller, d.now(root))
	if refusal != nil {
		return nil, nil, refuse(reasonToken)
	}
	if t.Scope == ScopeProject {
		if project, ok := root.Project(t.ScopeID); !ok || !project.Enabled || project.DomainID != domain.ID {
			return nil, nil, refuse(reasonToken)
		}
	}
	return user, domain, nil
}

// now is the later of replicated time and this node's clock, in Unix ms:
// replicated time stands still while nothing is written.
func (d *Door) now(root *state.Root) int64 { return max(root.Now(), d.clock().UnixMilli()) }

// IsRefusal tells whether an error says that a credential proves nothing.
func IsRefusal(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}
