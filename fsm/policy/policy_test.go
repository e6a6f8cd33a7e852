package policy_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

func TestDecide(t *testing.T) {
	const project, other = "b0", "b1"
	everywhere := []state.RoleBinding{{Role: policy.RoleKMSAdministrator}}
	here := []state.RoleBinding{{Role: policy.RoleKMSAdministrator, ProjectID: project}}

	f := func(bindings []state.RoleBinding, action, projectID string, allowed bool, reason string) {
		t.Helper()
		got := policy.Decide(bindings, policy.Request{Action: action, ProjectID: projectID})
		if got.Allowed != allowed || got.Reason != reason {
			t.Errorf("%s in %s: got %+v", action, projectID, got)
		}
	}
	f(everywhere, policy.ActionCreateKey, project, true, "KMS Administrator")
	f(everywhere, policy.ActionCryptoDEK, other, true, "KMS Administrator")
	f(here, policy.ActionDisableKey, project, true, "KMS Administrator")
	f(here, policy.ActionDisableKey, other, false, "no role allows kms:cmk:disable")
	f(nil, policy.ActionGetKey, project, false, "no role allows kms:cmk:get")
	f([]state.RoleBinding{{Role: "Nobody Knows"}}, policy.ActionGetKey, project, false, "no role allows kms:cmk:get")
	f([]state.RoleBinding{{Role: ""}}, policy.ActionGetKey, project, false, "no role allows kms:cmk:get")
	f(everywhere, "iam:users:create", project, false, "no role allows iam:users:create")
	f(everywhere, "", project, false, "no role allows ")
	f(everywhere, "kms", project, false, "no role allows kms")
}
