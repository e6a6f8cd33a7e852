package fsm_test

import (
	"bytes"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// byToken is the administrator with a token of that name and epoch.
func byToken(name string, epoch uint64) command.Caller {
	c := fsmtest.Caller()
	c.Via, c.CredentialID, c.Epoch, c.Expires = command.ViaToken, fsmtest.APITokenID(name), epoch, fsmtest.Start+3_600_000
	return c
}

// may tells whether the caller may list keys, and stands by name behind it.
func may(m *fsmtest.Machine, c command.Caller) bool {
	r := fsm.Request{Action: policy.ActionListKeys, ProjectID: fsmtest.ProjectID, Now: m.Now}
	return fsm.Authorize(m.State(), c, r) == nil
}

func as(m *fsmtest.Machine, c command.Caller, body command.Body) fsm.Result {
	cmd := m.Command(body)
	cmd.Caller = c
	return m.Apply(cmd)[0]
}

func wantCode(t *testing.T, r fsm.Result, want fsm.Code) {
	t.Helper()
	got := fsm.Code("")
	if r.Refusal != nil {
		got = r.Refusal.Code
	}
	if got != want {
		t.Errorf("refused with %q, want %q", got, want)
	}
}

func TestATokenEnds(t *testing.T) {
	f := func(name string, end func(m *fsmtest.Machine)) {
		t.Helper()
		m := fsmtest.Bootstrapped(t)
		if !may(m, byToken("a", 0)) {
			t.Fatalf("%s: the token counts for nothing before", name)
		}
		end(m)
		if may(m, byToken("a", 0)) {
			t.Errorf("%s: the token still counts", name)
		}
		wantCode(t, as(m, byToken("a", 0), fsmtest.CreateKey("k")), fsm.CodeUnauthenticated)
	}
	f("with time", func(m *fsmtest.Machine) { m.Now = fsmtest.Start + 3_600_000 })
	f("by revocation", func(m *fsmtest.Machine) { m.Must(fsmtest.RevokeToken("a")) })
	f("by its own hand", func(m *fsmtest.Machine) { wantCode(t, as(m, byToken("a", 0), fsmtest.RevokeToken("a")), "") })
	f("with the password", func(m *fsmtest.Machine) {
		m.Must(command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash})
	})
}

func TestRevocationIsOfOneToken(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.RevokeToken("a"))
	m.Must(fsmtest.RevokeToken("a"))
	if !may(m, byToken("b", 0)) || !may(m, fsmtest.Caller()) {
		t.Error("more has ended than the token")
	}
	// What would have ended by itself is forgotten with the next revocation.
	m.Now += 3_600_001
	b := fsmtest.RevokeToken("b")
	b.Expires += 3_600_000
	m.Must(b)
	if _, kept := m.State().RevokedToken(fsmtest.APITokenID("a")); kept || m.State().RevokedCount() != 1 {
		t.Errorf("%d revocations are kept", m.State().RevokedCount())
	}
	b.Expires += 8 * 24 * 3_600_000
	wantCode(t, m.Do(b), fsm.CodeInvalid)
	b = fsmtest.RevokeToken("c")
	b.UserID = fsmtest.KeyID("nobody")
	wantCode(t, m.Do(b), fsm.CodeNotFound)
}

// The snapshot carries it all.
func TestIdentitiesSurviveARestore(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.RevokeToken("a"))
	m.Must(fsmtest.AddCA("ca"))
	m.Must(command.BindIdentity{ProviderID: "ca", Name: "dns:a.test", UserID: fsmtest.UserID})
	m.Must(command.RecordAccess{Uses: []command.Access{{AccessKeyID: fsmtest.AccessKeyID, Last: fsmtest.Start}, {AccessKeyID: "GONE", Last: 1}}})
	var snapshot bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	again := fsm.New()
	if err := again.Restore(&snapshot); err != nil {
		t.Fatal(err)
	}
	root := again.State()
	if root.Hash() != m.State().Hash() || root.RevokedCount() != 1 || len(root.Providers()) != 1 || len(root.Bindings("ca")) != 1 {
		t.Error("the restored state differs")
	}
	if oldest, ok := root.OldestRevoked(); !ok || oldest.ID != fsmtest.APITokenID("a") {
		t.Error("the order of expiry is lost")
	}
	if a, ok := root.Access(fsmtest.AccessKeyID); !ok || a.Last != fsmtest.Start {
		t.Error("the last use is lost")
	}
	if _, ok := root.Access("GONE"); ok {
		t.Error("a use of no access key is kept")
	}
}

func TestPasswords(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	change := command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash}
	other := change
	other.UserID = fsmtest.DomainID
	wantCode(t, m.Do(other), fsm.CodeForbidden)
	for _, hash := range []string{"", "secret", "$2b$12$abc"} {
		bad := change
		bad.PasswordHash = hash
		wantCode(t, m.Do(bad), fsm.CodeInvalid)
	}
	m.Must(command.LockUser{UserID: fsmtest.UserID, Until: m.Now + 60_000})
	m.Must(change)
	user, _ := m.State().User(fsmtest.UserID)
	if user.PasswordHash != fsmtest.PasswordHash || user.Epoch == 0 || user.LockedUntil != 0 {
		t.Errorf("after the change: %+v", user)
	}
	wantCode(t, m.Do(change), fsm.CodeStale) // the epoch is another one now
	if !may(m, byToken("a", user.Epoch)) {
		t.Error("a token of the new epoch counts for nothing")
	}

	m.Must(command.LockUser{UserID: fsmtest.UserID, Until: m.Now + 60_000})
	wantCode(t, m.Do(command.LockUser{UserID: fsmtest.UserID, Until: m.Now}), fsm.CodeInvalid)
	wantCode(t, m.Do(command.LockUser{UserID: fsmtest.DomainID, Until: m.Now + 1}), fsm.CodeNotFound)
	m.Must(command.UnlockUser{UserID: fsmtest.UserID})
	if user, _ = m.State().User(fsmtest.UserID); user.LockedUntil != 0 {
		t.Error("the lock holds on")
	}
}

func TestProviders(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	vouched := fsmtest.Caller()
	vouched.Via, vouched.CredentialID = command.ViaProvider, "ca"
	if may(m, vouched) {
		t.Error("a provider that there is not vouches for users")
	}
	m.Must(fsmtest.AddCA("ca"))
	m.Must(fsmtest.AddIssuer("issuer"))
	if !may(m, vouched) {
		t.Error("a provider does not vouch for users")
	}
	wantCode(t, m.Do(fsmtest.AddIssuer("ca")), fsm.CodeAlreadyExists)
	f := func(change func(b *command.AddProvider), want fsm.Code) {
		t.Helper()
		b := fsmtest.AddCA("other")
		change(&b)
		wantCode(t, m.Do(b), want)
	}
	f(func(b *command.AddProvider) { b.DomainID = fsmtest.ProjectID }, fsm.CodeNotFound)
	f(func(b *command.AddProvider) { b.ID = "a b" }, fsm.CodeInvalid)
	f(func(b *command.AddProvider) { b.Kind = 3 }, fsm.CodeInvalid)
	f(func(b *command.AddProvider) { b.Certificate = nil }, fsm.CodeInvalid)
	f(func(b *command.AddProvider) { b.Issuer = "https://x" }, fsm.CodeInvalid)
	f(func(b *command.AddProvider) { *b = fsmtest.AddIssuer("other"); b.Audience = "" }, fsm.CodeInvalid)
	f(func(b *command.AddProvider) { *b = fsmtest.AddIssuer("other"); b.KeySet = make([]byte, 32<<10+1) }, fsm.CodeInvalid)

	bind := command.BindIdentity{ProviderID: "ca", Name: "dns:a.test", UserID: fsmtest.UserID}
	m.Must(bind)
	for _, change := range []func(b *command.BindIdentity){
		func(b *command.BindIdentity) { b.ProviderID = "none" },
		func(b *command.BindIdentity) { b.UserID = "none" },
	} {
		bad := bind
		change(&bad)
		wantCode(t, m.Do(bad), fsm.CodeNotFound)
	}
	bad := bind
	bad.Name = "a\nb"
	wantCode(t, m.Do(bad), fsm.CodeInvalid)
	wantCode(t, m.Do(command.UnbindIdentity{ProviderID: "ca", Name: "dns:b.test"}), fsm.CodeNotFound)
	m.Must(command.UnbindIdentity{ProviderID: "ca", Name: "dns:a.test"})
	m.Must(bind)
	m.Must(command.RemoveProvider{ID: "ca"})
	if may(m, vouched) || len(m.State().Bindings("ca")) != 0 {
		t.Error("a removed provider vouches for users")
	}
	wantCode(t, m.Do(command.RemoveProvider{ID: "ca"}), fsm.CodeNotFound)
	if len(m.State().Providers()) != 1 {
		t.Error("the other provider is gone too")
	}
}
