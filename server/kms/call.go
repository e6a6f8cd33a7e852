package kms

import (
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
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
	// Status says how the dialect will answer an error (nil: success): the HTTP
	// status and the code that the trace carries.
	Status func(err error) (status int, code string)
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
	room      *audit.Room // claimed for the call's trace before it changed anything

	// The trace, and what operations have put into it.
	record          audit.Record
	asked, answered audit.Details
}

// Identify says who is asking. It refuses with KindWrongProject when the
// request names a project that is not one of the principal's account.
func (c *Call) Identify(p iam.Principal) error {
	c.principal = p
	c.caller = command.Caller{
		Kind:         command.CallerUser,
		UserID:       p.UserID,
		CredentialID: p.AccessKeyID,
		ProjectID:    c.in.Project,
		Source:       c.in.Source,
		MFA:          p.MFA,
		RequestID:    c.in.RequestID,
	}
	project, ok := c.Root.Project(c.in.Project)
	if !ok || project.DomainID != p.DomainID || !project.Enabled {
		return Refuse(KindWrongProject, "the project in the path is not a project of this credential")
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

// authorise asks whether the caller may do this call's operation in its project.
func (c *Call) authorise() error {
	if refusal := fsm.Authorize(c.Root, c.caller, c.in.Operation.Action, c.in.Project); refusal != nil {
		return fromRefusal(refusal)
	}
	return nil
}
