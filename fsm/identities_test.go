package fsm_test

import (
	"fmt"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// What is refused, and that nothing of another account is found, whoever asks.
func TestIdentityRefusals(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateAccount("other"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateGroup("g"))
	m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")))
	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("p")}})
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreateKey("a"))
	stranger := fsmtest.Caller()
	stranger.UserID, stranger.CredentialID, stranger.ProjectID = fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), fsmtest.ID("other/project")

	f := func(body command.Body, want fsm.Code) {
		t.Helper()
		if got := codeOf(m.Do(body)); got != want {
			t.Errorf("%v: got %q, want %q", body.Type(), got, want)
		}
	}
	foreign := func(body command.Body, want fsm.Code) {
		t.Helper()
		cmd := m.Command(body)
		cmd.Caller = stranger
		if got := codeOf(m.Apply(cmd)[0]); got != want {
			t.Errorf("%v by a stranger: got %q, want %q", body.Type(), got, want)
		}
	}
	again := fsmtest.CreateUser("ada")
	again.ID = fsmtest.ID("another")
	f(again, fsm.CodeAlreadyExists)
	f(fsmtest.CreateUser("a b"), fsm.CodeInvalid)
	service := fsmtest.CreateUser("obs")
	service.Service = "OBS!"
	f(service, fsm.CodeInvalid)
	f(command.DeleteUser{ID: fsmtest.UserID}, fsm.CodeInvalid)
	f(command.UpdateUser{ID: fsmtest.UserID, Name: "admin"}, fsm.CodeInvalid)
	f(command.DeletePolicy{ID: fsmtest.ID("p")}, fsm.CodeInUse)
	f(fsmtest.CreatePolicy(policy.RoleAuditor, fsmtest.Allow("kms:*")), fsm.CodeAlreadyExists)
	f(fsmtest.CreatePolicy("q", fsmtest.Allow("kms")), fsm.CodeInvalid)
	f(fsmtest.CreatePolicy("q"), fsm.CodeInvalid)
	f(command.AttachPolicy{Binding: command.Binding{Policy: policy.RoleAuditor}}, fsm.CodeInvalid)
	f(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: "Nobody Knows"}}, fsm.CodeNotFound)
	f(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: policy.RoleAuditor, ProjectID: fsmtest.ID("other/project")}}, fsm.CodeNotFound)
	f(command.DetachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: policy.RoleAuditor}}, fsm.CodeNotFound)
	f(command.DetachPolicy{Binding: command.Binding{UserID: fsmtest.UserID, Policy: policy.RoleSecurityAdministrator}}, fsm.CodeInvalid)
	f(command.RemoveMember{GroupID: fsmtest.ID("g"), UserID: fsmtest.ID("ada")}, fsm.CodeNotFound)
	f(command.DeleteProject{ID: fsmtest.ProjectID}, fsm.CodeInUse)
	f(command.DeleteAccount{DomainID: fsmtest.DomainID}, fsm.CodeInvalid)
	f(command.UpdateAccount{DomainID: fsmtest.DomainID, Name: "account"}, fsm.CodeInvalid)
	f(fsmtest.CreateAccount("other"), fsm.CodeInvalid)

	foreign(command.UpdateUser{ID: fsmtest.ID("ada"), Name: "ada", Enabled: true}, fsm.CodeNotFound)
	foreign(command.DeleteUser{ID: fsmtest.ID("ada")}, fsm.CodeNotFound)
	foreign(command.SetPassword{UserID: fsmtest.ID("ada"), Hash: fsmtest.PasswordHash}, fsm.CodeNotFound)
	foreign(fsmtest.CreateAccessKey("ada"), fsm.CodeNotFound)
	foreign(command.DeleteAccessKey{ID: fsmtest.AccessKey("ada")}, fsm.CodeNotFound)
	foreign(command.DeleteGroup{ID: fsmtest.ID("g")}, fsm.CodeNotFound)
	foreign(command.AddMember{GroupID: fsmtest.ID("g"), UserID: fsmtest.ID("other/admin")}, fsm.CodeNotFound)
	foreign(command.UpdatePolicy{ID: fsmtest.ID("p"), Name: "p", Document: fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")).Document}, fsm.CodeNotFound)
	foreign(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("other/admin"), Policy: fsmtest.ID("p")}}, fsm.CodeNotFound)
	foreign(command.UpdateProject{ID: fsmtest.ProjectID}, fsm.CodeNotFound)
	foreign(fsmtest.CreateAccount("third"), fsm.CodeForbidden)
	foreign(command.DeleteAccount{DomainID: fsmtest.DomainID}, fsm.CodeForbidden)
	foreign(fsmtest.CreateUser("cleo"), "")
}

// An account's own administrator gives itself every policy there is, and still
// cannot run the cluster.
func TestNoPolicyOfAnAccountRunsTheCluster(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateAccount("other"))
	stranger := fsmtest.Caller()
	stranger.UserID, stranger.CredentialID, stranger.ProjectID = fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), ""
	for _, body := range []command.Body{
		fsmtest.CreatePolicy("all", fsmtest.Allow("*")),
		command.AttachPolicy{Binding: command.Binding{UserID: stranger.UserID, Policy: fsmtest.ID("all")}},
		command.AttachPolicy{Binding: command.Binding{UserID: stranger.UserID, Policy: policy.RoleClusterOperator}},
	} {
		cmd := m.Command(body)
		cmd.Caller = stranger
		if result := m.Apply(cmd)[0]; result.Refusal != nil {
			t.Fatal(result.Refusal)
		}
	}
	for _, action := range policy.Actions() {
		refusal := fsm.Authorize(m.State(), stranger, fsm.Request{Action: action})
		if policy.ClusterWide(action) != (refusal != nil) {
			t.Errorf("%s: %v", action, refusal)
		}
	}
}

// BenchmarkAuthorizeMany is an authorisation by 20 statements, of one user after
// the other, among few users and policies and among 10,000 and 1,000.
func BenchmarkAuthorizeMany(b *testing.B) {
	few := 0.0
	for _, size := range []struct{ users, policies int }{{10, 10}, {10_000, 1_000}} {
		b.Run(fmt.Sprintf("users=%d,policies=%d", size.users, size.policies), func(b *testing.B) {
			m := crowded(b, size.users, size.policies)
			root := m.State()
			key, _ := root.Key(fsmtest.KeyID("a"))
			callers := make([]command.Caller, size.users)
			for i := range callers {
				callers[i] = fsmtest.CallerAs(fmt.Sprintf("u%d", i))
				user, _ := root.User(callers[i].UserID)
				callers[i].UserID = user.ID // as whoever has read the credential's record says it
			}
			request := fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: fsmtest.ProjectID, Key: key}
			for _, caller := range callers { // each user's first call looks everything up
				if refusal := fsm.Authorize(root, caller, request); refusal != nil {
					b.Fatal(refusal)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if refusal := fsm.Authorize(root, callers[i%len(callers)], request); refusal != nil {
					b.Fatal(refusal)
				}
			}
			each := float64(b.Elapsed()) / float64(b.N)
			if size.users == 10 {
				few = each
			} else if few > 0 {
				b.ReportMetric(each/few, "times-few")
			}
		})
	}
}

func TestAuthorizeAmongManyAllocatesNothing(t *testing.T) {
	root := crowded(t, 10, 10).State()
	key, _ := root.Key(fsmtest.KeyID("a"))
	caller := fsmtest.CallerAs("u7")
	request := fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: fsmtest.ProjectID, Key: key}
	if n := testing.AllocsPerRun(100, func() {
		if refusal := fsm.Authorize(root, caller, request); refusal != nil {
			t.Fatal(refusal)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// crowded is a machine with that many users and policies; every user is in two
// groups, and ten statements hold for each.
func crowded(t testing.TB, users, policies int) *fsmtest.Machine {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	for i := range users {
		m.Must(fsmtest.CreateUser(fmt.Sprintf("u%d", i)))
		m.Must(fsmtest.CreateAccessKey(fmt.Sprintf("u%d", i)))
	}
	for i := range policies {
		statements := make([]policy.Statement, 10)
		for j := range statements {
			statements[j] = fsmtest.Allow("kms:cmk:get*", "kms:cmk:list")
			statements[j].Conditions = []policy.Condition{{Operator: "StringEquals", Key: "g:UserName", Values: []string{"nobody"}}}
		}
		statements[9] = policy.Statement{
			Actions: []string{"kms:dek:*"}, Resources: []string{"kms:*:*:KeyId:*"},
			Conditions: []policy.Condition{{Operator: "StringEquals", Key: "kms:KeySpec", Values: []string{"AES_256"}}},
		}
		m.Must(fsmtest.CreatePolicy(fmt.Sprintf("p%d", i), statements...))
	}
	for i := range 2 {
		group := fmt.Sprintf("g%d", i)
		m.Must(fsmtest.CreateGroup(group))
		for j := range users {
			m.Must(command.AddMember{GroupID: fsmtest.ID(group), UserID: fsmtest.ID(fmt.Sprintf("u%d", j))})
		}
		m.Must(command.AttachPolicy{Binding: command.Binding{GroupID: fsmtest.ID(group), Policy: fsmtest.ID(fmt.Sprintf("p%d", i))}})
	}
	return m
}

// A policy that asks for a tag sees the key's tags as they are at that moment,
// and a Deny by tag denies where the rest allows.
func TestPoliciesSeeTags(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	sealed := fsmtest.Deny("kms:*")
	sealed.Conditions = []policy.Condition{{Operator: "StringEquals", Key: "g:ResourceTag/sealed", Values: []string{"yes"}}}
	m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:dek:*"), sealed))
	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("p")}})
	f := func(want fsm.Code) {
		t.Helper()
		key, _ := m.State().Key(fsmtest.KeyID("a"))
		request := fsm.Request{Action: policy.ActionCryptoDEK, ProjectID: fsmtest.ProjectID, Key: key}
		if got := codeOf(fsm.Result{Refusal: fsm.Authorize(m.State(), fsmtest.CallerAs("ada"), request)}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("")
	m.Must(fsmtest.SetTags("a", "sealed", "yes"))
	f(fsm.CodeForbidden)
	m.Must(fsmtest.SetTags("a", "sealed", "no"))
	f("")
	if typ := command.TypeSetTags; !typ.Fenced() {
		t.Error("a tag can take a permission away, so setting one is fenced")
	}
}

// A change that was made of an older state takes back nothing that was said
// meanwhile of what it says nothing of: what has been disabled stays so, and names
// and descriptions stay what they are.
func TestUpdatesKeepWhatTheySayNothingOf(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateAccount("other"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreateGroup("g"))
	m.Must(command.CreateProject{ID: fsmtest.ID("p"), Name: "p"})
	type change struct {
		name, description              string
		enabled                        bool
		keepName, keepText, keepEnable bool
	}
	update := func(c change) {
		t.Helper()
		m.Must(command.UpdateAccount{DomainID: fsmtest.ID("other"), Name: c.name, Description: c.description, Enabled: c.enabled, KeepEnabled: c.keepEnable, KeepName: c.keepName, KeepDescription: c.keepText})
		m.Must(command.UpdateUser{ID: fsmtest.ID("ada"), Name: c.name, Description: c.description, Enabled: c.enabled, KeepEnabled: c.keepEnable, KeepName: c.keepName, KeepDescription: c.keepText})
		m.Must(command.UpdateGroup{ID: fsmtest.ID("g"), Name: c.name, Description: c.description, KeepName: c.keepName, KeepDescription: c.keepText})
		m.Must(command.UpdateAccessKey{ID: fsmtest.AccessKey("ada"), Description: c.description, Enabled: c.enabled, KeepEnabled: c.keepEnable, KeepDescription: c.keepText})
		m.Must(command.UpdateProject{ID: fsmtest.ID("p"), Description: c.description, Enabled: c.enabled, KeepEnabled: c.keepEnable, KeepDescription: c.keepText})
	}
	said := func(name, description string, enabled bool) {
		t.Helper()
		root := m.State()
		account, _ := root.Domain(fsmtest.ID("other"))
		user, _ := root.User(fsmtest.ID("ada"))
		group, _ := root.Group(fsmtest.ID("g"))
		key, _ := root.AccessKey(fsmtest.AccessKey("ada"))
		project, _ := root.Project(fsmtest.ID("p"))
		want := change{name: name, description: description, enabled: enabled}
		for what, got := range map[string]change{
			"account":    {name: account.Name, description: account.Description, enabled: account.Enabled},
			"user":       {name: user.Name, description: user.Description, enabled: user.Enabled},
			"group":      {name: group.Name, description: group.Description, enabled: enabled}, // is never disabled
			"access key": {name: name, description: key.Description, enabled: key.Enabled},     // has no name
			"project":    {name: name, description: project.Description, enabled: project.Enabled},
		} {
			if got != want {
				t.Errorf("the %s is %+v, want %+v", what, got, want)
			}
		}
	}
	update(change{name: "first", description: "as it was"})
	said("first", "as it was", false)
	update(change{name: "renamed", description: "described", enabled: true, keepEnable: true})
	said("renamed", "described", false)
	update(change{name: "other", description: "another", enabled: true, keepName: true, keepEnable: true})
	said("renamed", "another", false)
	update(change{name: "last", description: "described", enabled: true, keepText: true})
	said("last", "another", true)
}

// Whatever takes a permission from somebody is fenced: acknowledged when no
// node answers from a state before it.
func TestLossesAreFenced(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateAccount("other"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	m.Must(fsmtest.CreateGroup("g"))
	m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")))
	m.Must(fsmtest.CreatePolicy("q", fsmtest.Allow("kms:*")))
	m.Must(command.CreateProject{ID: fsmtest.ID("r"), Name: "r"})
	m.Must(fsmtest.AddCA("ca"))
	m.Must(command.EnrolAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Sealed: []byte("sealed")})
	ada, group := command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("p")}, command.Binding{GroupID: fsmtest.ID("g"), Policy: policy.RoleAuditor}
	document := fsmtest.CreatePolicy("p", fsmtest.Deny("kms:*")).Document
	for _, body := range []command.Body{
		command.AddMember{GroupID: fsmtest.ID("g"), UserID: fsmtest.ID("ada")},
		command.AttachPolicy{Binding: ada},
		command.AttachPolicy{Binding: group},
		command.BindIdentity{ProviderID: "ca", Name: "dns:ada", UserID: fsmtest.ID("ada")},
		command.UnbindIdentity{ProviderID: "ca", Name: "dns:ada"},
		command.RemoveProvider{ID: "ca"},
		command.UpdatePolicy{ID: fsmtest.ID("p"), Name: "p", Document: document},
		command.DetachPolicy{Binding: ada},
		command.DetachPolicy{Binding: group},
		command.RemoveMember{GroupID: fsmtest.ID("g"), UserID: fsmtest.ID("ada")},
		command.DeleteGroup{ID: fsmtest.ID("g")},
		command.DeletePolicy{ID: fsmtest.ID("p")},
		command.SetPassword{UserID: fsmtest.ID("ada"), Hash: fsmtest.PasswordHash},
		fsmtest.RevokeToken("t"),
		// The password alone gets no token any more; tokens of a factor that is gone end.
		command.ConfirmAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Step: fsmtest.Start / command.CodeStep},
		command.RemoveAuthenticator{UserID: fsmtest.UserID},
		command.UpdateAccessKey{ID: fsmtest.AccessKey("ada")},
		command.DeleteAccessKey{ID: fsmtest.AccessKey("ada")},
		command.UpdateUser{ID: fsmtest.ID("ada"), Name: "ada"},
		command.DeleteUser{ID: fsmtest.ID("ada")},
		command.UpdateProject{ID: fsmtest.ID("r")},
		command.DeleteProject{ID: fsmtest.ID("r")},
		command.UpdateAccount{DomainID: fsmtest.ID("other"), Name: "other"},
		command.DeleteAccount{DomainID: fsmtest.ID("other")},
	} {
		result := m.Must(body)
		if !body.Type().Fenced() || m.State().LastFence() != result.Index || m.State().FenceOf(fsmtest.ProjectID, fsmtest.KeyID("a")) != result.Index {
			t.Errorf("%v at %d: the last fence is %d", body.Type(), result.Index, m.State().LastFence())
		}
	}
}
