package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Authorize decides whether the user behind a caller may do an action in a
// project, from one state. The server asks it before a call, apply asks it
// again before a write: one function, so that they cannot differ.
//
// It returns nil for yes. "unauthenticated" means that no valid user stands
// behind the credential; "forbidden" that the user may not, or that there is no
// such project to be allowed in (which is not told apart). A yes allocates nothing.
func Authorize(root *state.Root, caller command.Caller, action, projectID string) *Refusal {
	return authorize(&root.View, caller, action, projectID)
}

func authorize(v *state.View, caller command.Caller, action, projectID string) *Refusal {
	credential, ok := v.AccessKey(caller.CredentialID)
	if !ok || !credential.Enabled || credential.UserID != caller.UserID {
		return refuse(CodeUnauthenticated, "the access key does not exist or is disabled")
	}
	user, ok := v.User(credential.UserID)
	if !ok || !user.Enabled {
		return refuse(CodeUnauthenticated, "the user does not exist or is disabled")
	}
	domain, ok := v.Domain(user.DomainID)
	if !ok || !domain.Enabled {
		return refuse(CodeUnauthenticated, "the account does not exist or is disabled")
	}
	project, ok := v.Project(projectID)
	if !ok || !project.Enabled || project.DomainID != user.DomainID {
		return refuse(CodeForbidden, "the account has no such project")
	}
	decision := policy.Decide(user.Roles, policy.Request{Action: action, ProjectID: projectID})
	if !decision.Allowed {
		return refuse(CodeForbidden, "%s", decision.Reason)
	}
	return nil
}

// authorizeWrite holds a command to the door of its kind of write, and a user
// to what the roles allow.
func authorizeWrite(v *state.View, w write, caller command.Caller) *Refusal {
	if caller.Kind != w.door {
		return refuse(CodeForbidden, "this write does not come through that door")
	}
	if w.door != command.CallerUser {
		return nil
	}
	return authorize(v, caller, w.action, caller.ProjectID)
}
