package kms

import (
	"context"
	"strings"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/iam"
)

// Incoming is what is known of a request before anybody has looked into it.
type Incoming struct {
	Operation Operation
	RequestID string
	Source    string // client IP address
	UserAgent string
	Project   string          // project named by the request; empty for cluster operations
	URL       string          // path of the request, for its trace
	Type      audit.TraceType // where it came from; empty: the API
	// Forwarded: another node asks, because its own module is gone or it is
	// stranded, and it writes the trace.
	Forwarded bool
	// Once is what makes the request one with its repeats; zero: nothing does.
	Once Once
	// Status says how the dialect will answer an error (nil: success): the HTTP
	// status and the code that the trace carries.
	Status func(err error) (status int, code string)
	// Stranded has a peer answer a use of a key that this node has no state for
	// (see stranded.go). It is given a call whose state is old, and says whether
	// the peer has answered; only then its error counts. nil: nobody can.
	Stranded func(ctx context.Context, c *Call) (answered bool, err error)
	// Aged is told how old the state is that answers, where it may be old
	// (see state.ConsistencyAvailable). Optional.
	Aged func(age time.Duration)
}

// Call is one request under way: the state it may see and its trace.
type Call struct {
	// Root is the state the whole call is decided from.
	Root *state.Root

	in        Incoming
	started   time.Time
	principal iam.Principal
	caller    command.Caller
	key       *state.Key  // the key the call turned out to be about
	other     *state.Key  // the first one of a call with two
	proposed  bool        // a change was proposed for it
	proposals int         // that were made under the request's token
	lane      *gate.Lane  // whose places are for such calls; nil: it needs none
	place     *gate.Place // that it has
	accesses  *accesses   // where it is put down that an access key was used
	room      *audit.Room // claimed for the call's trace before it changed anything

	// grant is the one that the call is to end; nil: none, or there is no such.
	grant *state.Grant
	// by are the grants that allowed what policies did not: of a call that uses
	// two keys there may be two.
	by [2]*state.Grant
	// abroad says that the call is about more than its own project.
	abroad bool

	// acting is the operation whose permission is needed, where a call does the
	// work of two; nil: its own.
	acting *Operation

	// The trace, and what operations have put into it.
	record          audit.Record
	asked, answered audit.Details
	adopted         bool // all of it is what a peer has found out
}

// Identify says who is asking. It refuses with KindWrongProject when the
// request names a project that is not one of the principal's account. Then it
// waits for the call's turn, and refuses with KindUnavailable ([gate.ErrBusy])
// where the node has too many calls already.
func (c *Call) Identify(ctx context.Context, p iam.Principal) error {
	c.principal = p
	if p.AccessKeyID != "" && !c.in.Forwarded && c.accesses != nil {
		c.accesses.note(p.AccessKeyID, c.started)
	}
	c.caller = command.Caller{
		Kind:         command.CallerUser,
		UserID:       p.UserID,
		CredentialID: p.AccessKeyID,
		Via:          p.Via,
		Epoch:        p.Epoch,
		Expires:      p.Expires,
		Groups:       p.Groups,
		ProjectID:    c.in.Project,
		Source:       c.in.Source,
		MFA:          p.MFA,
		RequestID:    c.in.RequestID,
	}
	if p.Via != command.ViaAccessKey {
		c.caller.CredentialID = p.CredentialID
	}
	if c.in.Project == "" {
		return c.enter(ctx) // about the account or the cluster
	}
	if p.Confined && p.ProjectID != c.in.Project {
		return Refuse(KindWrongProject, "the project in the path is not the token's")
	}
	project, ok := c.Root.Project(c.in.Project)
	if !ok || project.DomainID != p.DomainID || !project.Enabled {
		return Refuse(KindWrongProject, "the project in the path is not a project of this credential")
	}
	return c.enter(ctx)
}

// enter waits for a place on the call's lane.
func (c *Call) enter(ctx context.Context) (err error) {
	if c.lane == nil || c.place != nil {
		return nil
	}
	if c.place, err = c.lane.Enter(ctx, c.principal.UserID); err != nil {
		return &Error{Kind: KindUnavailable, Message: "this node has more calls to answer than it can, and has done nothing of this one: try again in a second, or try another node", Err: err}
	}
	return nil
}

// leave gives the place back.
func (c *Call) leave() {
	if c.place != nil {
		c.place.Leave()
		c.place = nil
	}
}

// Authenticate asks the state of the call whether whom [Call.Identify] has
// named still stands behind their credential. It is for a principal that
// somebody else has found out.
func (c *Call) Authenticate() error {
	if _, _, refusal := fsm.Authenticate(c.Root, c.caller, max(c.Root.Now(), c.started.UnixMilli())); refusal != nil {
		return fromRefusal(refusal)
	}
	return nil
}

// Operator says that the request came through the node's admin socket.
func (c *Call) Operator() {
	c.caller = command.Caller{Kind: command.CallerOperator, Source: c.in.Source, RequestID: c.in.RequestID}
}

// JoiningNode says that the request came through the joining protocol.
func (c *Call) JoiningNode() {
	c.caller = command.Caller{Kind: command.CallerNode, Source: c.in.Source, RequestID: c.in.RequestID}
}

// authorise asks whether the caller may do this call's operation, which is
// about no key, in the call's project.
func (c *Call) authorise() error { return c.authoriseOn(nil) }

// findAuthorised finds a key by its id or alias/NAME and asks whether the
// caller may do this call's operation on it. It is the only way to a key. One
// that the caller may not know of is told apart from an absent one by nobody.
func (c *Call) findAuthorised(ref string) (*state.Key, error) {
	key := c.resolve(ref)
	err := c.authoriseOn(key)
	switch {
	case err == nil:
		return key, nil
	case KindOf(err) == KindNotFound:
		return nil, c.notFound(ref)
	default:
		return nil, err
	}
}

// authoriseOn asks whether the caller may do this call's operation on a key
// (an existing one, an absent one, or one that is to be made) or, where it is
// nil, on none.
func (c *Call) authoriseOn(key *state.Key) error {
	op := c.in.Operation
	if c.acting != nil {
		op = *c.acting
	}
	if c.in.Project == "" && c.principal.Confined && !c.principal.Account {
		return Refuse(KindForbidden, "the token is not for the account: ask for one with the scope domain")
	}
	by, refusal := fsm.AuthorizedBy(c.Root, c.caller, fsm.Request{
		Action:    op.Action,
		Operation: op.Name,
		ProjectID: c.in.Project,
		Key:       key,
		Grant:     c.grant,
		Now:       max(c.Root.Now(), c.started.UnixMilli()),
	})
	exists := key != nil && key.ID != "" && key.ProjectID != ""
	if exists && (refusal == nil || key.ProjectID == c.in.Project) {
		c.key = key // also for the trace of a refusal, unless the key is another's
	}
	if refusal != nil {
		return fromRefusal(refusal)
	}
	c.allowedBy(by)
	c.abroad = c.abroad || exists && key.ProjectID != c.in.Project
	return nil
}

// allowedBy notes which grant allowed what the call does; nil: none.
func (c *Call) allowedBy(grant *state.Grant) {
	for i := range c.by {
		if grant == nil || c.by[i] == grant {
			return
		}
		if c.by[i] == nil {
			c.by[i] = grant
			return
		}
	}
}

// resolve returns the key that a reference leads to, wherever it is, or what
// stands for an absent one. Names are those of the call's project.
func (c *Call) resolve(ref string) *state.Key { return c.ResolveIn(c.in.Project, ref) }

// ResolveIn is resolve with the names of a project. What may be told of the key
// is for fsm.Authorize and fsm.Explain to say.
func (c *Call) ResolveIn(projectID, ref string) *state.Key {
	if name, isName := strings.CutPrefix(ref, aliasPrefix); isName {
		if key, ok := c.Root.KeyByName(projectID, name); ok {
			return key
		}
		return fsm.Absent("")
	}
	if key, ok := c.Root.Key(ref); ok {
		return key
	}
	return fsm.Absent(ref)
}
