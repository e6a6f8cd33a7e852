package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Each thing that must hold is taken away by itself.
func TestAuthorize(t *testing.T) {
	base := fsmtest.Bootstrapped(t).State()
	accessKey, _ := base.AccessKey(fsmtest.AccessKeyID)
	user, _ := base.User(fsmtest.UserID)
	domain, _ := base.Domain(fsmtest.DomainID)
	project, _ := base.Project(fsmtest.ProjectID)
	const otherID = "e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0"

	f := func(name string, change func(*state.Txn, *command.Caller), want fsm.Code) {
		t.Helper()
		x, caller := base.Txn(), fsmtest.Caller()
		change(x, &caller)
		refusal := fsm.Authorize(x.Commit(), caller, policy.ActionCryptoDEK, caller.ProjectID)
		if got := codeOf(fsm.Result{Refusal: refusal}); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	f("all in order", func(*state.Txn, *command.Caller) {}, "")
	f("no such access key", func(_ *state.Txn, c *command.Caller) { c.CredentialID = "none" }, fsm.CodeUnauthenticated)
	f("no access key", func(_ *state.Txn, c *command.Caller) { c.CredentialID = "" }, fsm.CodeUnauthenticated)
	f("another's access key", func(_ *state.Txn, c *command.Caller) { c.UserID = otherID }, fsm.CodeUnauthenticated)
	f("access key disabled", func(x *state.Txn, _ *command.Caller) {
		a := *accessKey
		a.Enabled = false
		x.PutAccessKey(&a)
	}, fsm.CodeUnauthenticated)
	f("user gone", func(x *state.Txn, c *command.Caller) {
		a := *accessKey
		a.UserID, c.UserID = otherID, otherID
		x.PutAccessKey(&a)
	}, fsm.CodeUnauthenticated)
	f("user disabled", func(x *state.Txn, _ *command.Caller) {
		u := *user
		u.Enabled = false
		x.PutUser(&u)
	}, fsm.CodeUnauthenticated)
	f("account disabled", func(x *state.Txn, _ *command.Caller) {
		d := *domain
		d.Enabled = false
		x.PutDomain(&d)
	}, fsm.CodeUnauthenticated)
	f("no such project", func(_ *state.Txn, c *command.Caller) { c.ProjectID = otherID }, fsm.CodeForbidden)
	f("project disabled", func(x *state.Txn, _ *command.Caller) {
		p := *project
		p.Enabled = false
		x.PutProject(&p)
	}, fsm.CodeForbidden)
	f("another account's project", func(x *state.Txn, c *command.Caller) {
		x.PutProject(&state.Project{ID: otherID, Name: "theirs", DomainID: otherID, Enabled: true})
		c.ProjectID = otherID
	}, fsm.CodeForbidden)
	f("no role", func(x *state.Txn, _ *command.Caller) {
		u := *user
		u.Roles = nil
		x.PutUser(&u)
	}, fsm.CodeForbidden)
	f("role in another project", func(x *state.Txn, _ *command.Caller) {
		u := *user
		u.Roles = []state.RoleBinding{{Role: policy.RoleKMSAdministrator, ProjectID: otherID}}
		x.PutUser(&u)
	}, fsm.CodeForbidden)
}

func TestAuthorizeAllocatesNothing(t *testing.T) {
	root, caller := fsmtest.Bootstrapped(t).State(), fsmtest.Caller()
	allocations := testing.AllocsPerRun(100, func() {
		if refusal := fsm.Authorize(root, caller, policy.ActionCryptoDEK, fsmtest.ProjectID); refusal != nil {
			t.Fatal(refusal)
		}
	})
	if allocations != 0 {
		t.Fatalf("%v allocations", allocations)
	}
}
