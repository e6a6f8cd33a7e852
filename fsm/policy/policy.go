// Package policy decides whether a user's roles allow an action. It is pure:
// equal input, equal answer, on every node; it looks nothing up and keeps
// nothing. Whether the user, the credential and the project exist and are
// enabled is asked before (fsm.Authorize).
//
// # The model
//
// A role is a list of statements; a statement allows or denies the actions that
// match one of its patterns. A user's bindings say which roles hold in which
// project. Of all statements that match, one that denies wins; else one that
// allows; else the answer is no.
package policy

import "github.com/raftkms/raftkms/fsm/state"

// RoleKMSAdministrator is the system role that may do every action of the
// service kms.
const RoleKMSAdministrator = "KMS Administrator"

// Request is what somebody wants to do.
type Request struct {
	Action    string // one of the constants of this package
	ProjectID string // project in which
}

// Decision is the answer, with a reason fit for the caller's eyes: it names
// roles and actions, never another tenant's anything.
type Decision struct {
	Allowed bool
	Reason  string
}

// Decide judges a request by the role bindings of the user who makes it. It
// allocates nothing when it allows.
func Decide(bindings []state.RoleBinding, r Request) Decision {
	allowedBy := ""
	for _, b := range bindings {
		if b.ProjectID != "" && b.ProjectID != r.ProjectID {
			continue
		}
		switch effectOf(b.Role, r.Action) {
		case deny:
			return Decision{Reason: "the role " + b.Role + " denies " + r.Action}
		case allow:
			allowedBy = b.Role
		}
	}
	if allowedBy == "" {
		return Decision{Reason: "no role allows " + r.Action}
	}
	return Decision{Allowed: true, Reason: allowedBy}
}

// effect is what a role says about an action.
type effect uint8

const (
	silent effect = iota
	allow
	deny
)

// effectOf returns what all matching statements of a role come to.
func effectOf(role, action string) effect {
	result := silent
	for _, s := range systemRole(role) {
		if s.matches(action) && s.effect > result {
			result = s.effect
		}
	}
	return result
}
