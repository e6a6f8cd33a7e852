package fsm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// The statement that decides is named, with the policy and whose binding it is.
func TestExplain(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateGroup("readers"))
	m.Must(command.AddMember{GroupID: fsmtest.ID("readers"), UserID: fsmtest.ID("ada")})
	m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:cmk:list"), fsmtest.Allow("kms:cmk:get"), fsmtest.Deny("kms:cmk:disable")))
	key, _ := m.State().Key(fsmtest.KeyID("a"))
	f := func(action string, want fsm.Explanation) {
		t.Helper()
		got := fsm.Explain(m.State(), fsmtest.ID("ada"), "192.0.2.1", false, fsm.Request{Action: action, ProjectID: fsmtest.ProjectID, Key: key})
		if got.Refusal != nil && want.Refusal != nil {
			want.Refusal.Message = got.Refusal.Message
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", action, diff)
		}
	}
	no := &fsm.Refusal{Code: fsm.CodeForbidden}
	f(policy.ActionGetKey, fsm.Explanation{Refusal: no})
	f(policy.ActionUpdateCluster, fsm.Explanation{Refusal: no})

	group := command.Binding{GroupID: fsmtest.ID("readers"), Policy: fsmtest.ID("p"), ProjectID: fsmtest.ProjectID}
	m.Must(command.AttachPolicy{Binding: group})
	by := fsm.Explanation{
		Policy: fsmtest.ID("p"), PolicyName: "p", GroupID: fsmtest.ID("readers"), GroupName: "readers", ProjectID: fsmtest.ProjectID,
	}
	allowed, denied := by, by
	allowed.Verdict, allowed.Statement = policy.Allowed, 1
	f(policy.ActionGetKey, allowed)
	denied.Verdict, denied.Statement, denied.Refusal = policy.Denied, 2, no
	f(policy.ActionDisableKey, denied)

	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: policy.RoleKMSAdministrator}})
	own := fsm.Explanation{Verdict: policy.Allowed, Policy: policy.RoleKMSAdministrator, PolicyName: policy.RoleKMSAdministrator}
	f(policy.ActionCryptoData, own)
	f(policy.ActionDisableKey, denied) // an explicit deny wins over the user's own

	m.Must(fsmtest.CreateAccessKey("ada"))
	for _, action := range policy.Actions() {
		r := fsm.Request{Action: action, ProjectID: fsmtest.ProjectID, Key: key}
		answer := fsm.Authorize(m.State(), fsmtest.CallerAs("ada"), r)
		if got := fsm.Explain(m.State(), fsmtest.ID("ada"), fsmtest.CallerAs("ada").Source, false, r); !cmp.Equal(got.Refusal, answer) {
			t.Errorf("%s: answered %v, explained as %v", action, answer, got.Refusal)
		}
	}

	m.Must(command.UpdateUser{ID: fsmtest.ID("ada"), Name: "ada"})
	f(policy.ActionGetKey, fsm.Explanation{Refusal: &fsm.Refusal{Code: fsm.CodeUnauthenticated}})
}
