package fsm_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Few names, so that commands meet.
var (
	someUsers    = rapid.SampledFrom([]string{"ada", "bob", "eve"})
	someGroups   = rapid.SampledFrom([]string{"g1", "g2"})
	somePolicies = rapid.SampledFrom([]string{"p1", "p2", "p3"})
	someProjects = rapid.SampledFrom([]string{"", "", fsmtest.ProjectID, fsmtest.ID("region-2")})
	someActions  = rapid.SampledFrom([]string{"*", "kms:*", "kms:dek:*", "kms:DEK:Crypto", "kms:cmk:crypto", "iam:*:list", "kms:cmk:disable"})
	someRoles    = rapid.SampledFrom([]string{policy.RoleKMSCrypto, policy.RoleKMSReadOnly, policy.RoleSecurityAdministrator})
)

// drawIdentity draws a command about who may do what.
func drawIdentity(t *rapid.T) command.Body {
	user, group, p := someUsers.Draw(t, "user"), someGroups.Draw(t, "group"), somePolicies.Draw(t, "policy")
	switch rapid.IntRange(0, 30).Draw(t, "identity") {
	case 0, 1, 2:
		return fsmtest.CreateUser(user)
	case 3, 4, 5:
		return fsmtest.CreateAccessKey(user)
	case 6:
		return fsmtest.CreateGroup(group)
	case 7, 8:
		return command.AddMember{GroupID: fsmtest.ID(group), UserID: fsmtest.ID(user)}
	case 9:
		return command.RemoveMember{GroupID: fsmtest.ID(group), UserID: fsmtest.ID(user)}
	case 10, 11:
		return fsmtest.CreatePolicy(p, drawStatement(t))
	case 12:
		b := fsmtest.CreatePolicy(p, drawStatement(t), drawStatement(t))
		return command.UpdatePolicy{ID: b.ID, Name: b.Name, Document: b.Document}
	case 13:
		return command.DeletePolicy{ID: fsmtest.ID(p)}
	case 14, 15, 16, 17:
		return command.AttachPolicy{Binding: drawBinding(t, user, group, p)}
	case 18:
		return command.DetachPolicy{Binding: drawBinding(t, user, group, p)}
	case 19:
		return command.UpdateUser{ID: fsmtest.ID(user), Name: user, Enabled: rapid.Bool().Draw(t, "enabled")}
	case 20:
		return command.UpdateAccessKey{ID: fsmtest.AccessKey(user), Enabled: rapid.Bool().Draw(t, "enabled")}
	case 21:
		return command.DeleteAccessKey{ID: fsmtest.AccessKey(user)}
	case 22:
		return command.DeleteUser{ID: fsmtest.ID(user)}
	case 24, 25:
		b := fsmtest.RevokeToken(someTokens.Draw(t, "token"))
		b.Expires = fsmtest.Start + rapid.SampledFrom([]int64{1000, 700_000, 3_600_000}).Draw(t, "ends")
		return b
	case 26:
		return command.ForgetRevoked{Through: fsmtest.Start + rapid.SampledFrom([]int64{1000, 3_600_000}).Draw(t, "through")}
	case 28, 29:
		return command.EnrolAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID(user), Sealed: []byte("sealed secret")}
	case 30:
		step := fsmtest.Start/30_000 + rapid.Int64Range(0, 4).Draw(t, "step")
		switch rapid.IntRange(0, 2).Draw(t, "factor") {
		case 0:
			return command.ConfirmAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID(user), Step: step}
		case 1:
			return command.SpendCode{UserID: fsmtest.UserID, ID: fsmtest.ID(user), Step: step}
		}
		return command.RemoveAuthenticator{UserID: fsmtest.UserID}
	case 23:
		return command.DeleteGroup{ID: fsmtest.ID(group)}
	default:
		return command.CreateProject{ID: fsmtest.ID("region-2"), Name: "region-2"}
	}
}

func drawStatement(t *rapid.T) policy.Statement {
	s := policy.Statement{
		Deny:    rapid.IntRange(0, 3).Draw(t, "deny") == 0,
		Actions: rapid.SliceOfN(someActions, 1, 3).Draw(t, "actions"),
	}
	if rapid.IntRange(0, 2).Draw(t, "resource") == 0 {
		s.Resources = []string{"kms:*:*:KeyId:" + fsmtest.KeyID(someKeys.Draw(t, "on"))}
	}
	return s
}

func drawBinding(t *rapid.T, user, group, p string) command.Binding {
	b := command.Binding{Policy: fsmtest.ID(p), ProjectID: someProjects.Draw(t, "project")}
	if rapid.IntRange(0, 2).Draw(t, "system") == 0 {
		b.Policy = someRoles.Draw(t, "role")
	}
	if rapid.Bool().Draw(t, "to user") {
		b.UserID = fsmtest.ID(user)
	} else {
		b.GroupID = fsmtest.ID(group)
	}
	return b
}

// world is who may do what, written as simply as possible.
type world struct {
	users    map[string]*modelUser         // by id
	groups   map[string]bool               // by id
	policies map[string][]policy.Statement // by id
	bindings []command.Binding
	projects map[string]bool
}

type modelUser struct {
	enabled, key, keyEnabled bool
	groups                   []string
}

// do does what a command of the administrator does, which may be nothing.
func (w *world) do(body command.Body) {
	switch b := body.(type) {
	case command.CreateUser:
		if w.users[b.ID] == nil {
			w.users[b.ID] = &modelUser{enabled: true}
		}
	case command.CreateAccessKey:
		if u := w.users[b.UserID]; u != nil && !u.key {
			u.key, u.keyEnabled = true, true
		}
	case command.CreateGroup:
		w.groups[b.ID] = true
	case command.AddMember:
		if u := w.users[b.UserID]; u != nil && w.groups[b.GroupID] && !slices.Contains(u.groups, b.GroupID) {
			u.groups = append(u.groups, b.GroupID)
		}
	case command.RemoveMember:
		if u := w.users[b.UserID]; u != nil {
			u.groups = slices.DeleteFunc(u.groups, func(g string) bool { return g == b.GroupID })
		}
	case command.CreatePolicy:
		if w.policies[b.ID] == nil {
			w.policies[b.ID] = b.Document.Statements
		}
	case command.UpdatePolicy:
		if w.policies[b.ID] != nil {
			w.policies[b.ID] = b.Document.Statements
		}
	case command.DeletePolicy:
		if !slices.ContainsFunc(w.bindings, func(have command.Binding) bool { return have.Policy == b.ID }) {
			delete(w.policies, b.ID)
		}
	case command.AttachPolicy:
		_, system := policy.System(b.Binding.Policy)
		exists := system || w.policies[b.Binding.Policy] != nil
		holder := w.users[b.Binding.UserID] != nil || w.groups[b.Binding.GroupID]
		project := b.Binding.ProjectID == "" || w.projects[b.Binding.ProjectID]
		if exists && holder && project && !slices.Contains(w.bindings, b.Binding) {
			w.bindings = append(w.bindings, b.Binding)
		}
	case command.DetachPolicy:
		w.bindings = slices.DeleteFunc(w.bindings, func(have command.Binding) bool { return have == b.Binding })
	case command.UpdateUser:
		if u := w.users[b.ID]; u != nil {
			u.enabled = b.Enabled
		}
	case command.UpdateAccessKey:
		for id, u := range w.users {
			if u.key && fsmtest.AccessKey(nameOf(id)) == b.ID {
				u.keyEnabled = b.Enabled
			}
		}
	case command.DeleteAccessKey:
		for id, u := range w.users {
			if fsmtest.AccessKey(nameOf(id)) == b.ID {
				u.key = false
			}
		}
	case command.DeleteUser:
		delete(w.users, b.ID)
		w.bindings = slices.DeleteFunc(w.bindings, func(have command.Binding) bool { return have.UserID == b.ID })
	case command.DeleteGroup:
		if !w.groups[b.ID] {
			return
		}
		delete(w.groups, b.ID)
		for _, u := range w.users {
			u.groups = slices.DeleteFunc(u.groups, func(g string) bool { return g == b.ID })
		}
		w.bindings = slices.DeleteFunc(w.bindings, func(have command.Binding) bool { return have.GroupID == b.ID })
	case command.CreateProject:
		w.projects[b.ID] = true
	}
}

func nameOf(id string) string {
	for _, name := range []string{"ada", "bob", "eve"} {
		if fsmtest.ID(name) == id {
			return name
		}
	}
	return ""
}

// may says what a user may do with a key of the first project.
func (w *world) may(user, action, keyID string) bool {
	u := w.users[fsmtest.ID(user)]
	if u == nil || !u.enabled || !u.key || !u.keyEnabled {
		return false
	}
	allowed := false
	for _, b := range w.bindings {
		if b.UserID != fsmtest.ID(user) && !slices.Contains(u.groups, b.GroupID) || b.ProjectID != "" && b.ProjectID != fsmtest.ProjectID {
			continue
		}
		if p, system := policy.System(b.Policy); system {
			verdict, _ := p.Judge(&policy.Request{Action: action})
			allowed = allowed || verdict == policy.Allowed
		}
		for _, s := range w.policies[b.Policy] {
			on := len(s.Resources) == 0 || s.Resources[0] == "kms:*:*:KeyId:"+keyID
			if !on || !slices.ContainsFunc(s.Actions, func(a string) bool { return naiveMatch(strings.ToLower(a), strings.ToLower(action)) }) {
				continue
			}
			if s.Deny {
				return false
			}
			allowed = true
		}
	}
	return allowed
}

// naiveMatch is matching by trying everything.
func naiveMatch(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return naiveMatch(pattern[1:], text) || text != "" && naiveMatch(pattern, text[1:])
	}
	return text != "" && pattern[0] == text[0] && naiveMatch(pattern[1:], text[1:])
}

// Whatever has happened to users, groups, policies and access keys, everybody
// may what the model says, and nothing else.
func TestIdentitiesAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		m.Must(fsmtest.CreateKey("a"))
		m.Must(fsmtest.CreateKey("b"))
		w := &world{
			users: map[string]*modelUser{}, groups: map[string]bool{}, policies: map[string][]policy.Statement{},
			projects: map[string]bool{fsmtest.ProjectID: true},
		}
		for range rapid.IntRange(1, 60).Draw(rt, "commands") {
			body := drawIdentity(rt)
			w.do(body)
			m.Do(body)
		}
		if rapid.Bool().Draw(rt, "restart") {
			m.Machine = restarted(rt, m.Machine)
		}
		root := m.State()
		for _, user := range []string{"ada", "bob", "eve"} {
			for _, action := range []string{policy.ActionCreateDEK, policy.ActionCryptoDEK, policy.ActionCryptoData, policy.ActionDisableKey, policy.ActionGetKey} {
				for _, name := range []string{"a", "b"} {
					key, _ := root.Key(fsmtest.KeyID(name))
					refusal := fsm.Authorize(root, fsmtest.CallerAs(user), fsm.Request{Action: action, ProjectID: fsmtest.ProjectID, Key: key})
					if want := w.may(user, action, key.ID); (refusal == nil) != want {
						rt.Fatalf("%s, %s on %s: %v, the model says %v", user, action, name, refusal, want)
					}
				}
			}
		}
		checkIdentityLists(rt, root, w)
	})
}

func checkIdentityLists(t *rapid.T, root *state.Root, w *world) {
	users := root.Users(fsmtest.DomainID, "", 100)
	if len(users) != len(w.users)+1 || len(root.Groups(fsmtest.DomainID, "", 100)) != len(w.groups) || len(root.Policies(fsmtest.DomainID, "", 100)) != len(w.policies) {
		t.Fatalf("%d users, the model has %d and the administrator", len(users), len(w.users))
	}
	for id := range w.groups {
		want := 0
		for _, u := range w.users {
			if slices.Contains(u.groups, id) {
				want++
			}
		}
		if got := len(root.Members(id, "", 100)); got != want {
			t.Fatalf("a group with %d members, the model has %d", got, want)
		}
	}
	if page := root.Users(fsmtest.DomainID, users[0].Name, 1); len(users) > 1 && page[0] != users[1] {
		t.Fatal("the second page begins elsewhere")
	}
}

// tryIdentities applies one command of every type about identities.
func tryIdentities(m *fsmtest.Machine) {
	binding := command.Binding{GroupID: fsmtest.ID("g1"), Policy: fsmtest.ID("p1")}
	for _, body := range []command.Body{
		fsmtest.CreateAccount("other"),
		command.UpdateAccount{DomainID: fsmtest.ID("other"), Name: "another"},
		command.DeleteAccount{DomainID: fsmtest.ID("other")},
		command.CreateProject{ID: fsmtest.ID("r"), Name: "r"},
		command.UpdateProject{ID: fsmtest.ID("r")},
		command.DeleteProject{ID: fsmtest.ID("r")},
		fsmtest.CreateUser("ada"),
		command.UpdateUser{ID: fsmtest.ID("ada"), Name: "ada", Enabled: true},
		command.SetPassword{UserID: fsmtest.ID("ada"), Hash: fsmtest.PasswordHash},
		fsmtest.CreateGroup("g1"),
		command.UpdateGroup{ID: fsmtest.ID("g1"), Name: "g2"},
		command.AddMember{GroupID: fsmtest.ID("g1"), UserID: fsmtest.ID("ada")},
		command.RemoveMember{GroupID: fsmtest.ID("g1"), UserID: fsmtest.ID("ada")},
		fsmtest.CreatePolicy("p1", fsmtest.Allow("kms:*")),
		command.UpdatePolicy{ID: fsmtest.ID("p1"), Name: "p1", Document: fsmtest.CreatePolicy("", fsmtest.Deny("kms:*")).Document},
		command.AttachPolicy{Binding: binding},
		command.DetachPolicy{Binding: binding},
		command.DeletePolicy{ID: fsmtest.ID("p1")},
		command.DeleteGroup{ID: fsmtest.ID("g1")},
		fsmtest.CreateAccessKey("ada"),
		command.UpdateAccessKey{ID: fsmtest.AccessKey("ada"), Enabled: true},
		command.DeleteAccessKey{ID: fsmtest.AccessKey("ada")},
		command.DeleteUser{ID: fsmtest.ID("ada")},
	} {
		m.Must(body)
	}
}
