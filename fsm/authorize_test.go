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
		refusal := fsm.Authorize(x.Commit(), caller, fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: caller.ProjectID})
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
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	root, caller := m.State(), fsmtest.Caller()
	key, _ := root.Key(fsmtest.KeyID("a"))
	request := fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: fsmtest.ProjectID, Key: key}
	allocations := testing.AllocsPerRun(100, func() {
		if refusal := fsm.Authorize(root, caller, request); refusal != nil {
			t.Fatal(refusal)
		}
	})
	if allocations != 0 {
		t.Fatalf("%v allocations", allocations)
	}
}

// A key of another project is judged as one that is not there: the answers are
// the same in every word, whatever the policies say.
func TestForeignKeysAreAbsent(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	const otherID = "e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0"
	m.Must(fsmtest.CreateKey("a"))
	own, _ := m.State().Key(fsmtest.KeyID("a"))
	foreign := *own
	foreign.ProjectID = otherID

	f := func(roles []state.RoleBinding, key *state.Key, want fsm.Code) {
		t.Helper()
		x := m.State().Txn()
		user, _ := x.User(fsmtest.UserID)
		changed := *user
		changed.Roles = roles
		x.PutUser(&changed)
		request := fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: fsmtest.ProjectID, Key: key}
		refusal := fsm.Authorize(x.Commit(), fsmtest.Caller(), request)
		if got := codeOf(fsm.Result{Refusal: refusal}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if key == own {
			return
		}
		request.Key = fsm.Absent(key.ID)
		if absent := fsm.Authorize(x.Commit(), fsmtest.Caller(), request); *absent != *refusal {
			t.Errorf("foreign: %v, absent: %v", refusal, absent)
		}
	}
	all := []state.RoleBinding{{Role: policy.RoleKMSAdministrator}}
	f(all, own, "")
	f(all, &foreign, fsm.CodeNotFound)
	f(nil, own, fsm.CodeForbidden)
	f(nil, &foreign, fsm.CodeForbidden)
}

// What the operator may, a user may whose policies allow it, and who is of the
// system account.
func TestOperatorsWritesThroughTheAPI(t *testing.T) {
	token := command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: fsmtest.Start + 60_000}
	f := func(change func(*state.Txn, *state.User, *state.Domain), want fsm.Code) {
		t.Helper()
		m := fsmtest.Bootstrapped(t)
		x := m.State().Txn()
		oldUser, _ := x.User(fsmtest.UserID)
		oldDomain, _ := x.Domain(fsmtest.DomainID)
		user, domain := *oldUser, *oldDomain
		change(x, &user, &domain)
		x.PutUser(&user)
		x.PutDomain(&domain)
		replace(t, m.Machine, x.Commit())
		cmd := m.Command(token)
		cmd.Caller = fsmtest.Caller()
		cmd.Caller.ProjectID = ""
		if got := codeOf(m.Apply(cmd)[0]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(func(*state.Txn, *state.User, *state.Domain) {}, "")
	f(func(_ *state.Txn, u *state.User, _ *state.Domain) { u.Roles = u.Roles[:1] }, fsm.CodeForbidden)
	f(func(_ *state.Txn, _ *state.User, d *state.Domain) { d.System = false }, fsm.CodeForbidden)
}
