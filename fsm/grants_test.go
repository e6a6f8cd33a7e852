package fsm_test

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

func TestGrantsOutOfBoundsAreRefused(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateDefaultKey("obs"))
	f := func(want fsm.Code, change func(b *command.CreateGrant)) {
		t.Helper()
		body := fsmtest.CreateGrant("g", "a", fsmtest.UserID, state.GrantSign)
		change(&body)
		if got := codeOf(m.Do(body)); got != want {
			t.Errorf("%+v: %q, want %q", body, got, want)
		}
	}
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.GrantID = strings.ToUpper(b.GrantID) })
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.GrantID = b.GrantID[1:] })
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.Name = "a b" })
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.Name = strings.Repeat("a", 256) })
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.Operations = 0 })
	f(fsm.CodeInvalid, func(b *command.CreateGrant) { b.Operations = state.GrantAll + 1 })
	f(fsm.CodeGrantOnlyGrants, func(b *command.CreateGrant) { b.Operations = state.GrantCreateGrant })
	f(fsm.CodeGrantPrincipal, func(b *command.CreateGrant) { b.Grantee = "" })
	f(fsm.CodeGrantPrincipal, func(b *command.CreateGrant) { b.Grantee = fsmtest.DomainID })
	f(fsm.CodeGrantPrincipal, func(b *command.CreateGrant) { b.ToAccount = true })
	f(fsm.CodeGrantPrincipal, func(b *command.CreateGrant) { b.Retiring = "nobody" })
	f(fsm.CodeNotFound, func(b *command.CreateGrant) { b.KeyID = fsmtest.KeyID("nobody") })
	f(fsm.CodeDefaultKey, func(b *command.CreateGrant) { b.KeyID = fsmtest.KeyID("obs") })
	f("", func(b *command.CreateGrant) { b.Name = strings.Repeat("a", 255) })
	f(fsm.CodeInvalid, func(*command.CreateGrant) {}) // the id is given out
	if got := codeOf(m.Do(command.RevokeGrant{ProjectID: fsmtest.ID("elsewhere"), KeyID: fsmtest.KeyID("a"), GrantID: fsmtest.GrantID("g")})); got != fsm.CodeInvalid {
		t.Errorf("a revocation that is scoped to another project: %q", got)
	}
	m.Must(fsmtest.SetQuotas(9, 1, 9, 9))
	f(fsm.CodeGrantLimit, func(b *command.CreateGrant) { b.GrantID = fsmtest.GrantID("another") })
	if n := m.State().MostGrants(fsmtest.ProjectID); n != 1 {
		t.Errorf("at most %d grants", n)
	}

	// The grants of all keys have a bound of their own, and end with their keys.
	m.Must(fsmtest.CreateKey("b"))
	m.Must(fsmtest.SetQuotas(9, 9, 9, 1))
	another := func(b *command.CreateGrant) { b.KeyID, b.GrantID = fsmtest.KeyID("b"), fsmtest.GrantID("another") }
	f(fsm.CodeGrantTotal, another)
	m.Must(fsmtest.ScheduleDeletion("a", 1000))
	m.Now += 1000
	m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID("a"), Due: m.Now})
	if n := m.State().GrantCount(fsmtest.ProjectID); n != 0 {
		t.Errorf("%d grants on no key", n)
	}
	f("", another)
}

// Grants end with the key, with the user and with the account that they are for.
func TestGrantsEndWithWhatTheyAreAbout(t *testing.T) {
	f := func(grantee string, account bool, left int, end func(m *fsmtest.Machine, actors map[string]actor)) {
		t.Helper()
		m, actors := theater(t)
		b := fsmtest.CreateGrant("g", "a", grantee, state.GrantSign)
		b.ToAccount = account
		m.Must(b)
		m.Must(fsmtest.CreateGrant("stays", "b", fsmtest.UserID, state.GrantSign))
		end(m, actors)
		root := m.State()
		if _, there := root.Grant(fsmtest.GrantID("g")); there != (left == 1) {
			t.Errorf("there: %v", there)
		}
		if key, there := root.Key(fsmtest.KeyID("a")); there && (int(key.Grants) != left || left == 0 && key.Fence != root.Applied()) {
			t.Errorf("the key: %+v at %d", key, root.Applied())
		}
		if n := root.MostGrants(fsmtest.ProjectID); n != 1 || root.RetirableCount(fsmtest.UserID, fsmtest.DomainID) != 1+left || root.GrantCount(fsmtest.ProjectID) != 1+left {
			t.Errorf("at most %d grants", n)
		}
		if _, there := root.Grant(fsmtest.GrantID("stays")); !there {
			t.Error("the other one is gone, too")
		}
		readsBack(t, root)
	}
	must := func(m *fsmtest.Machine, caller command.Caller, body command.Body) {
		t.Helper()
		if r := doAs(m, caller, body); r.Refusal != nil {
			t.Fatal(r.Refusal)
		}
	}
	f(fsmtest.ID("eve"), false, 0, func(m *fsmtest.Machine, actors map[string]actor) {
		must(m, actors["boss"].caller, command.DeleteUser{ID: fsmtest.ID("eve")})
	})
	f(fsmtest.ID("eve"), false, 0, func(m *fsmtest.Machine, _ map[string]actor) {
		m.Must(command.DeleteAccount{DomainID: fsmtest.ID("other")})
	})
	f(fsmtest.ID("other"), true, 0, func(m *fsmtest.Machine, _ map[string]actor) {
		m.Must(command.DeleteAccount{DomainID: fsmtest.ID("other")})
	})
	f(fsmtest.ID("eve"), false, 0, func(m *fsmtest.Machine, _ map[string]actor) {
		m.Must(fsmtest.ScheduleDeletion("a", 1000))
		m.Now += 1000
		m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID("a"), Due: m.Now})
	})
	f(fsmtest.ID("ada"), false, 1, func(m *fsmtest.Machine, _ map[string]actor) { // a state of the key is no end
		m.Must(fsmtest.DisableKey("a"))
		m.Must(command.DeleteAccount{DomainID: fsmtest.ID("other")})
	})
}

// What the owner may not do while its project or account is disabled, nobody
// may by a grant of it.
func TestGrantsOfADisabledOwner(t *testing.T) {
	f := func(change func(x *state.Txn), want fsm.Code) {
		t.Helper()
		m, actors := theater(t)
		m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("eve"), state.GrantDecryptData))
		x := m.State().Txn()
		change(x)
		root := x.Commit()
		key, _ := root.Key(fsmtest.KeyID("a"))
		eve := actors["eve"].caller
		refusal := fsm.Authorize(root, eve, fsm.Request{Action: policy.ActionCryptoData, Operation: "decryptData", ProjectID: eve.ProjectID, Key: key})
		if got := codeOf(fsm.Result{Refusal: refusal}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(func(*state.Txn) {}, "")
	f(func(x *state.Txn) {
		old, _ := x.Project(fsmtest.ProjectID)
		p := *old
		p.Enabled = false
		x.PutProject(&p)
	}, fsm.CodeForbidden)
	f(func(x *state.Txn) {
		old, _ := x.Domain(fsmtest.DomainID)
		d := *old
		d.Enabled = false
		x.PutDomain(&d)
	}, fsm.CodeForbidden)
	f(func(x *state.Txn) {
		old, _ := x.User(fsmtest.ID("eve"))
		u := *old
		u.Enabled = false
		x.PutUser(&u)
	}, fsm.CodeUnauthenticated)
}

// A grant on a key that the caller knows nothing of is told apart from none by
// no word of any answer, and leaves no trace in the state.
func TestForeignGrantsAreAbsent(t *testing.T) {
	m, actors := theater(t)
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("ada"), state.GrantAll))
	for _, name := range []string{"boss", "eve"} {
		for _, retire := range []bool{false, true} {
			answers := map[string]bool{}
			for _, b := range []command.RevokeGrant{
				fsmtest.RevokeGrant("g", "a"), fsmtest.RevokeGrant("nobody", "a"), fsmtest.RevokeGrant("g", "nobody"), fsmtest.RevokeGrant("nobody", "nobody"),
			} {
				var body command.Body = b
				if retire {
					body = command.RetireGrant(b)
				}
				answers[doAs(m, actors[name].caller, body).Refusal.Error()] = true
			}
			if len(answers) != 1 {
				t.Errorf("%s is told %v", name, answers)
			}
		}
	}
	if _, there := m.State().Grant(fsmtest.GrantID("g")); !there {
		t.Error("and the grant is gone")
	}
}

// Who made the key may revoke, although no policy lets them; unless one denies it.
func TestWhoMadeTheKeyRevokes(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreatePolicy("maker", fsmtest.Allow(policy.ActionCreateKey)))
	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("maker")}})
	if r := doAs(m, fsmtest.CallerAs("ada"), fsmtest.CreateKey("a")); r.Refusal != nil {
		t.Fatal(r.Refusal)
	}
	m.Must(fsmtest.CreateKey("b"))
	f := func(key string, want fsm.Code) {
		t.Helper()
		m.Must(fsmtest.CreateGrant("g", key, fsmtest.UserID, state.GrantSign))
		if got := codeOf(doAs(m, fsmtest.CallerAs("ada"), fsmtest.RevokeGrant("g", key))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if want != "" {
			m.Must(fsmtest.RevokeGrant("g", key))
		}
	}
	f("a", "")
	f("b", fsm.CodeForbidden)
	m.Must(fsmtest.CreatePolicy("never", fsmtest.Deny(policy.ActionRevokeGrant)))
	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("never")}})
	f("a", fsm.CodeForbidden)
}

// A revocation is fenced for whoever uses the key, wherever they call from, and
// for nobody who uses another key.
func TestRevocationsAreFenced(t *testing.T) {
	m, actors := theater(t)
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("eve"), state.GrantDecryptData))
	m.Must(fsmtest.RevokeGrant("g", "a"))
	root, theirs := m.State(), actors["eve"].caller.ProjectID
	if got := root.FenceOf(theirs, fsmtest.KeyID("a")); got != root.Applied() {
		t.Errorf("fence %d of the key, want %d", got, root.Applied())
	}
	if got := root.FenceOf(theirs, fsmtest.KeyID("b")); got == root.Applied() {
		t.Error("another key waits for the revocation")
	}
	if got := root.FenceWithin(fsmtest.ProjectID); got != root.Applied() {
		t.Errorf("fence %d of the project, want %d", got, root.Applied())
	}
	// A grant that is made from abroad is told when what it follows from is
	// released: what was said of its key, and not what was said of another one.
	fence := root.Applied()
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("eve"), state.GrantDecryptData|state.GrantCreateGrant))
	m.Must(fsmtest.DisableKey("b"))
	cmd := m.Command(fsmtest.CreateGrant("h", "a", fsmtest.ID("dan"), state.GrantDecryptData))
	cmd.Caller = actors["eve"].caller
	results, fences, err := m.ApplyFenced([]fsm.Entry{m.Entry(cmd)})
	if err != nil || results[0].Refusal != nil || fences[0] != fence {
		t.Errorf("%v, %v, fence %v, want %d", results, err, fences, fence)
	}
}

// An explanation, which knows only the action, names the grant as the ground.
func TestExplainedByGrant(t *testing.T) {
	m, actors := theater(t)
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("eve"), state.GrantCreateDataKeyWithoutPlaintext))
	f := func(action string, want bool) {
		t.Helper()
		key, _ := m.State().Key(fsmtest.KeyID("a"))
		e := fsm.Explain(m.State(), fsmtest.ID("eve"), "", false, fsm.Request{Action: action, ProjectID: actors["eve"].caller.ProjectID, Key: key})
		if e.Granted != want || (e.Refusal == nil) != want {
			t.Errorf("%s: %+v", action, e)
		}
	}
	f(policy.ActionCreateDEK, true)
	f(policy.ActionCryptoDEK, false)
	f(policy.ActionDisableKey, false)
}

func TestAuthorizeByGrantAllocatesNothing(t *testing.T) {
	m, actors := theater(t)
	for _, name := range []string{"1", "2", "3"} {
		m.Must(fsmtest.CreateGrant(name, "a", fsmtest.ID("eve"), state.GrantEncryptData))
	}
	account := fsmtest.CreateGrant("4", "a", fsmtest.ID("other"), state.GrantDecryptData)
	account.ToAccount = true
	m.Must(account)
	root, eve := m.State(), actors["eve"].caller
	key, _ := root.Key(fsmtest.KeyID("a"))
	request := fsm.Request{Action: policy.ActionCryptoData, Operation: "decryptData", ProjectID: eve.ProjectID, Key: key}
	if n := testing.AllocsPerRun(100, func() {
		if by, refusal := fsm.AuthorizedBy(root, eve, request); refusal != nil || by.ID != account.GrantID {
			t.Fatal(by, refusal)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkAuthorizeByGrant(b *testing.B) {
	m, actors := theater(b)
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.ID("eve"), state.GrantDecryptData))
	root, eve := m.State(), actors["eve"].caller
	key, _ := root.Key(fsmtest.KeyID("a"))
	request := fsm.Request{Action: policy.ActionCryptoData, Operation: "decryptData", ProjectID: eve.ProjectID, Key: key}
	b.ReportAllocs()
	for b.Loop() {
		if refusal := fsm.Authorize(root, eve, request); refusal != nil {
			b.Fatal(refusal)
		}
	}
}
