package keystone

import (
	"context"
	"slices"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// explain answers GET /v3/users/{user_id}/permissions: whether a user of the
// account may do something, and which statement of which policy says so. The
// query asks: action, and perhaps project_id, key (id or alias/NAME), source_ip,
// mfa, and operation: of those that need the action, the one that a grant must allow.
func explain(_ context.Context, x *exchange) (any, error) {
	u, err := x.findUser(x.path("user_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(u.ID, u.Name)
	action, project, ref := x.query("action"), x.query("project_id"), x.query("key")
	if !slices.Contains(policy.Actions(), action) {
		return nil, &refusal{400, "IAM.0011", "There is no such action, so it is allowed to nobody."}
	}
	if project != "" {
		if _, err := x.findProject(project); err != nil {
			return nil, err
		}
	}
	r := fsm.Request{Action: action, Operation: x.query("operation"), ProjectID: project, Now: x.now()}
	switch {
	case r.Operation != "" && !kms.Grantable(r.Operation, action):
		return nil, &refusal{400, "IAM.0011", "There is no such operation that needs the action and that a grant can allow."}
	case ref != "" && project == "":
		return nil, &refusal{400, "IAM.0011", "A key is one of a project: say which."}
	case ref != "":
		r.Key = x.call.ResolveIn(project, ref)
	}
	asked := x.call.Asked()
	asked.Text("action", action)
	asked.Text("project_id", project)
	asked.Text("key", ref)
	asked.Text("operation", r.Operation)
	said := fsm.Explain(x.call.Root, u.ID, x.query("source_ip"), x.query("mfa") == "true", r)
	x.call.Answered().Flag("allowed", said.Refusal == nil)
	return wire.ExplainReply{Explanation: explanationOf(u.Name, action, said)}, nil
}

func explanationOf(user, action string, e fsm.Explanation) wire.Explanation {
	shown := wire.Explanation{User: user, Action: action, Allowed: e.Refusal == nil, DecidedBy: wire.DecidedByNothing}
	if e.Refusal != nil {
		shown.Reason = e.Refusal.Message
	}
	switch {
	case e.Granted:
		shown.DecidedBy = wire.DecidedByGrant
	case e.Verdict == policy.Silent:
		return shown
	default:
		shown.DecidedBy, shown.Effect = wire.DecidedByPolicy, "Allow"
		if e.Verdict == policy.Denied {
			shown.Effect = "Deny"
		}
		if _, system := policy.System(e.Policy); system {
			shown.DecidedBy = wire.DecidedBySystemPolicy
		}
		shown.PolicyID, shown.Policy, shown.Statement = e.Policy, e.PolicyName, e.Statement+1
		shown.GroupID, shown.Group, shown.ProjectID = e.GroupID, e.GroupName, e.ProjectID
	}
	return shown
}
