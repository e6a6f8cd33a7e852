package fsm_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

var (
	someGrants   = rapid.SampledFrom([]string{"g1", "g2", "g3", "g4", "g5"})
	someGrantees = rapid.SampledFrom([]string{fsmtest.UserID, fsmtest.ID("ada"), fsmtest.ID("bob"), fsmtest.DomainID})
	someOps      = rapid.SampledFrom([]state.GrantedOps{
		0, state.GrantCreateGrant, state.GrantDecryptData, state.GrantDecryptData | state.GrantCreateGrant,
		state.GrantCreateDataKey | state.GrantRetireGrant, state.GrantAll, state.GrantAll + 1,
	})
)

// drawGrants draws a write about grants.
func drawGrants(t *rapid.T) command.Body {
	grant, key := someGrants.Draw(t, "grant"), someKeys.Draw(t, "key")
	switch rapid.IntRange(0, 5).Draw(t, "grants") {
	case 0:
		return fsmtest.RevokeGrant(grant, key)
	case 1:
		return fsmtest.RetireGrant(grant, key)
	default:
		b := fsmtest.CreateGrant(grant, key, someGrantees.Draw(t, "grantee"), someOps.Draw(t, "ops"))
		b.ToAccount = b.Grantee == fsmtest.DomainID || rapid.IntRange(0, 9).Draw(t, "no account") == 0
		if rapid.Bool().Draw(t, "retiring") {
			b.Retiring = someGrantees.Draw(t, "by")
		}
		return b
	}
}

// allGrants are those of all keys.
func (m *model) allGrants() (n int) {
	for _, k := range m.keys {
		n += len(k.grants)
	}
	return n
}

// grant is [model.do] for grants, of which a key may have three, and all keys four. The
// administrator is the only user, and the account the only one.
func (m *model) grant(body command.Body) fsm.Code {
	switch b := body.(type) {
	case command.RetireGrant:
		return m.grant(command.RevokeGrant(b)) // who made it may do either
	case command.RevokeGrant:
		k := m.find(b.KeyID)
		switch {
		case k == nil:
			return fsm.CodeNotFound
		case !slices.Contains(k.grants, b.GrantID):
			return fsm.CodeGrantNotFound
		}
		k.grants = slices.DeleteFunc(k.grants, func(id string) bool { return id == b.GrantID })
		return ""
	}
	b := body.(command.CreateGrant)
	k := m.find(b.KeyID)
	if k == nil {
		return fsm.CodeNotFound
	}
	switch k.state {
	case state.Disabled:
		return fsm.CodeKeyDisabled
	case state.PendingDeletion:
		return fsm.CodePendingDeletion
	case state.PendingImport:
		return fsm.CodePendingImport
	}
	grantee := fsmtest.UserID
	if b.ToAccount {
		grantee = fsmtest.DomainID
	}
	switch {
	case b.Operations == 0 || b.Operations > state.GrantAll:
		return fsm.CodeInvalid
	case b.Operations == state.GrantCreateGrant:
		return fsm.CodeGrantOnlyGrants
	case b.Grantee != grantee, b.Retiring != "" && b.Retiring != fsmtest.UserID && b.Retiring != fsmtest.DomainID:
		return fsm.CodeGrantPrincipal
	case slices.ContainsFunc(m.keys, func(k modelKey) bool { return slices.Contains(k.grants, b.GrantID) }):
		return fsm.CodeInvalid
	case len(k.grants) >= 3:
		return fsm.CodeGrantLimit
	case m.allGrants() >= 4:
		return fsm.CodeGrantTotal
	}
	k.grants = append(k.grants, b.GrantID)
	return ""
}

// granted tells whether there are the grants on a key that the model says.
func (k *modelKey) granted(root *state.Root, r *state.Key) bool {
	return int(r.Grants) == len(k.grants) && slices.Equal(idsOf(root.GrantsOn(r.ID, 0, 100)), k.grants)
}

func idsOf(grants []*state.Grant) []string {
	var ids []string
	for _, g := range grants {
		ids = append(ids, g.ID)
	}
	return ids
}

// actor is somebody in the story of two accounts.
type actor struct {
	caller command.Caller
	domain string
	all    bool // policies allow everything in the own project
	denied bool // a policy denies to decrypt data
}

func (a actor) home() bool { return a.domain == fsmtest.DomainID }

// theater has two accounts with people in them, and two keys in the one.
func theater(t testing.TB) (*fsmtest.Machine, map[string]actor) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateAccount("other"))
	boss := fsmtest.Caller()
	boss.UserID, boss.CredentialID, boss.ProjectID = fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), fsmtest.ID("other/project")
	as := func(user string) command.Caller {
		c := boss
		c.UserID, c.CredentialID = fsmtest.ID(user), fsmtest.AccessKey(user)
		return c
	}
	must := func(caller command.Caller, body command.Body) {
		t.Helper()
		if r := doAs(m, caller, body); r.Refusal != nil {
			t.Fatal(body.Type(), r.Refusal)
		}
	}
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	for _, user := range []string{"eve", "dan"} {
		must(boss, fsmtest.CreateUser(user))
		must(boss, fsmtest.CreateAccessKey(user))
	}
	must(boss, fsmtest.CreatePolicy("no data", fsmtest.Deny(policy.ActionCryptoData)))
	must(boss, command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("dan"), Policy: fsmtest.ID("no data")}})
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateKey("b"))
	return m, map[string]actor{
		"admin": {fsmtest.Caller(), fsmtest.DomainID, true, false},
		"ada":   {fsmtest.CallerAs("ada"), fsmtest.DomainID, false, false},
		"boss":  {boss, fsmtest.ID("other"), true, false},
		"eve":   {as("eve"), fsmtest.ID("other"), false, false},
		"dan":   {as("dan"), fsmtest.ID("other"), false, true},
	}
}

// doAs applies a command of somebody.
func doAs(m *fsmtest.Machine, caller command.Caller, body command.Body) fsm.Result {
	cmd := m.Command(body)
	cmd.Caller = caller
	return m.Apply(cmd)[0]
}

// drama is what grants come to when written as simply as possible.
type drama struct {
	actors map[string]actor
	grants []state.Grant
}

func (d *drama) to(who actor, keyID string) (ops state.GrantedOps) {
	for _, g := range d.grants {
		if g.KeyID == keyID && (g.Grantee == who.caller.UserID && !g.ToAccount || g.Grantee == who.domain && g.ToAccount) {
			ops |= g.Operations
		}
	}
	return ops
}

func retires(who actor, g state.Grant) bool {
	named := func(id string) bool { return id == who.caller.UserID || id == who.domain }
	return g.Issuer == who.caller.UserID || named(g.Retiring) || g.Operations&state.GrantRetireGrant != 0 && named(g.Grantee)
}

// create returns what is said to somebody who wants to create a grant.
func (d *drama) create(who actor, g state.Grant) fsm.Code {
	has := d.to(who, g.KeyID)
	switch {
	case who.all && who.home():
	case has&state.GrantCreateGrant != 0:
		if g.Operations&^has != 0 {
			return fsm.CodeForbidden
		}
	case has == 0 && who.all:
		return fsm.CodeNotFound // a key of another project
	default:
		return fsm.CodeForbidden
	}
	if slices.ContainsFunc(d.grants, func(have state.Grant) bool { return have.ID == g.ID }) {
		return fsm.CodeInvalid
	}
	g.Issuer = who.caller.UserID
	d.grants = append(d.grants, g)
	return ""
}

// end returns what is said to somebody who wants to revoke or retire a grant.
func (d *drama) end(who actor, keyID, grantID string, retire bool) fsm.Code {
	at := slices.IndexFunc(d.grants, func(g state.Grant) bool { return g.ID == grantID && g.KeyID == keyID })
	if at >= 0 {
		g := d.grants[at]
		if retire && retires(who, g) || !retire && (who.all && who.home() || g.Issuer == who.caller.UserID) {
			d.grants = slices.Delete(d.grants, at, at+1)
			return ""
		}
	}
	switch {
	case who.all && who.home() && at < 0:
		return fsm.CodeGrantNotFound
	case who.all && !who.home() && d.to(who, keyID) == 0:
		return fsm.CodeNotFound
	default:
		return fsm.CodeForbidden
	}
}

// Whoever makes and ends grants, in whatever order: each is told what the model
// tells, may what the model lets, and is shown what the model shows.
func TestGrantsAgreeWithTheModel(t *testing.T) {
	names := []string{"admin", "ada", "boss", "eve", "dan"}
	operations := map[string]struct {
		action string
		op     state.GrantedOps
	}{
		"createDataKey":                 {policy.ActionCreateDEK, state.GrantCreateDataKey},
		"createDataKeyWithoutPlaintext": {policy.ActionCreateDEK, state.GrantCreateDataKeyWithoutPlaintext},
		"encryptDatakey":                {policy.ActionEncryptDEK, state.GrantEncryptDataKey},
		"decryptDatakey":                {policy.ActionDecryptDEK, state.GrantDecryptDataKey},
		"describeKey":                   {policy.ActionGetKey, state.GrantDescribeKey},
		"encryptData":                   {policy.ActionEncryptData, state.GrantEncryptData},
		"decryptData":                   {policy.ActionDecryptData, state.GrantDecryptData},
		"sign":                          {policy.ActionSign, state.GrantSign},
		"enableKey":                     {policy.ActionEnableKey, 0},
		"listGrants":                    {policy.ActionListGrants, 0},
	}
	rapid.Check(t, func(rt *rapid.T) {
		m, actors := theater(t)
		d := &drama{actors: actors}
		who := rapid.SampledFrom(names)
		key := rapid.SampledFrom([]string{"a", "b"})
		principal := rapid.SampledFrom([]string{
			fsmtest.UserID, fsmtest.ID("ada"), fsmtest.ID("other/admin"), fsmtest.ID("eve"), fsmtest.ID("dan"), fsmtest.DomainID, fsmtest.ID("other"),
		})
		for range rapid.IntRange(1, 40).Draw(rt, "writes") {
			a, keyID, grant := actors[who.Draw(rt, "who")], fsmtest.KeyID(key.Draw(rt, "key")), fsmtest.GrantID(someGrants.Draw(rt, "grant"))
			var body command.Body
			var want fsm.Code
			switch rapid.IntRange(0, 6).Draw(rt, "write") {
			case 0:
				body, want = command.RevokeGrant{ProjectID: fsmtest.ProjectID, KeyID: keyID, GrantID: grant}, d.end(a, keyID, grant, false)
			case 1:
				body, want = command.RetireGrant{ProjectID: fsmtest.ProjectID, KeyID: keyID, GrantID: grant}, d.end(a, keyID, grant, true)
			default:
				g := state.Grant{
					ID: grant, KeyID: keyID, Grantee: principal.Draw(rt, "grantee"),
					Operations: state.GrantedOps(rapid.Uint64Range(1, 1<<10).Draw(rt, "ops")) | state.GrantDescribeKey,
				}
				g.ToAccount = g.Grantee == fsmtest.DomainID || g.Grantee == fsmtest.ID("other")
				if rapid.Bool().Draw(rt, "retiring") {
					g.Retiring = principal.Draw(rt, "by")
				}
				body = command.CreateGrant{GrantID: g.ID, KeyID: keyID, Grantee: g.Grantee, ToAccount: g.ToAccount, Operations: g.Operations, Retiring: g.Retiring}
				want = d.create(a, g)
			}
			if got := codeOf(doAs(m, a.caller, body)); got != want {
				rt.Fatalf("%v of %s: %q, want %q", body.Type(), a.caller.UserID, got, want)
			}
		}
		if rapid.Bool().Draw(rt, "restart") {
			m.Machine = restarted(rt, m.Machine)
		}
		for _, name := range names {
			a := actors[name]
			for _, k := range []string{"a", "b"} {
				key, _ := m.State().Key(fsmtest.KeyID(k))
				for operation, needs := range operations {
					by, refusal := fsm.AuthorizedBy(m.State(), a.caller, fsm.Request{Action: needs.action, Operation: operation, ProjectID: a.caller.ProjectID, Key: key})
					own := a.all && a.home()
					want := (own || d.to(a, key.ID)&needs.op != 0) && !(a.denied && policy.Whole(needs.action) == policy.ActionCryptoData)
					if (refusal == nil) != want || (by != nil) != (want && !own) || by != nil && by.Operations&needs.op == 0 {
						rt.Fatalf("%s, %s on %s: %v by %+v, the model says %v", name, operation, k, refusal, by, want)
					}
				}
			}
			d.checkRetirable(rt, m.State(), a)
		}
	})
}

func (d *drama) checkRetirable(t *rapid.T, root *state.Root, a actor) {
	var want []string
	for _, g := range d.grants {
		if retires(a, g) {
			want = append(want, g.ID)
		}
	}
	var got []string
	size := rapid.IntRange(1, 4).Draw(t, "page")
	for after := uint64(0); len(got) <= len(d.grants); {
		page := root.RetirableGrants(a.caller.UserID, a.domain, after, size)
		got = append(got, idsOf(page)...)
		if len(page) < size {
			break
		}
		after = page[size-1].Sequence
	}
	if n := root.RetirableCount(a.caller.UserID, a.domain); !slices.Equal(got, want) || n != len(want) {
		t.Fatalf("%s may retire %v (%d), the model says %v", a.caller.UserID, got, n, want)
	}
}
