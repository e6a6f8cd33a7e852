package state_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// What was found of a principal counts until one of the records that it was
// made of changes, and never for a state before or after that.
func TestPrincipalsEndWithTheirRecords(t *testing.T) {
	document := policy.Document{Version: policy.VersionPolicy, Statements: []policy.Statement{{Actions: []string{"kms:*"}}}}
	x := state.NewRoot().Txn()
	domain := &state.Domain{ID: "d", Name: "d", Enabled: true}
	project := &state.Project{ID: "p", Name: "p", DomainID: "d", Enabled: true}
	project2 := &state.Project{ID: "p2", Name: "p2", DomainID: "d", Enabled: true}
	group := &state.Group{ID: "g", Name: "g", DomainID: "d", Roles: []state.RoleBinding{{Role: policy.RoleAuditor}, {Role: "q", ProjectID: "p"}, {Role: "none"}}}
	user := &state.User{ID: "u", Name: "u", DomainID: "d", Enabled: true, Groups: []string{"g"}, Roles: []state.RoleBinding{{Role: policy.RoleKMSCrypto, ProjectID: "other"}}}
	key := &state.AccessKey{ID: "k", UserID: "u", Enabled: true}
	custom := &state.Policy{ID: "q", Name: "q", DomainID: "d", Document: document}
	x.PutDomain(domain)
	x.PutProject(project)
	x.PutProject(project2)
	x.PutPolicy(custom)
	x.PutGroup(group)
	x.PutUser(user)
	x.PutAccessKey(key)
	root := x.Commit()

	first := root.PrincipalByKey("k", "p")
	if first == nil || first.AccessKey != key || first.User != user || first.Domain != domain || first.Project != project || len(first.Held) != 2 || first.Held[0].Group != group {
		t.Fatalf("%+v", first)
	}
	if root.PrincipalByKey("k", "p") != first || root.Principal("u", "p") == first || root.PrincipalByKey("u", "p") != nil || root.Principal("k", "p") != nil {
		t.Fatal("it is not kept, or kept for another")
	}
	if p := root.Principal("u", ""); len(p.Held) != 1 || p.Project != nil {
		t.Fatalf("in no project: %+v", p)
	}
	if p := root.Principal("u", "nowhere"); len(p.Held) != 0 || p.Project != nil {
		t.Fatalf("in a project that is not there: %+v", p)
	}

	// Of two projects each is found as itself, whichever was asked for first.
	if second := root.PrincipalByKey("k", "p2"); second.Project != project2 || len(second.Held) != 1 || root.PrincipalByKey("k", "p2") != second || root.PrincipalByKey("k", "p") != first {
		t.Fatalf("in a second project: %+v", second)
	}

	f := func(name string, ends bool, change func(x *state.Txn)) {
		t.Helper()
		before := root.PrincipalByKey("k", "p")
		x := root.Txn()
		change(x)
		if within := x.PrincipalByKey("k", "p"); (within != before) != ends {
			t.Errorf("%s: within the transaction it is the same: %v", name, within == before)
		}
		after := x.Commit()
		if got := after.PrincipalByKey("k", "p"); (got != before) != ends {
			t.Errorf("%s: afterwards it is the same: %v", name, got == before)
		}
		if root.PrincipalByKey("k", "p") != before {
			t.Errorf("%s: the state before has another", name)
		}
	}
	f("nothing", false, func(*state.Txn) {})
	f("another's use", false, func(x *state.Txn) { x.PutAccess(&state.Access{AccessKeyID: "k", Last: 1}) })
	f("a key", false, func(x *state.Txn) {
		x.PutKey(&state.Key{ID: "key", ProjectID: "p", DomainID: "d", Name: "n", State: state.Enabled})
	})
	f("the account", true, func(x *state.Txn) { d := *domain; d.Enabled = false; x.PutDomain(&d) })
	f("the project", true, func(x *state.Txn) { p := *project; p.Enabled = false; x.PutProject(&p) })
	f("the policy", true, func(x *state.Txn) { p := *custom; p.Description = "another"; x.PutPolicy(&p) })
	f("the group", true, func(x *state.Txn) { g := *group; g.Roles = nil; x.PutGroup(&g) })
	f("the user", true, func(x *state.Txn) { u := *user; u.Enabled = false; x.PutUser(&u) })
	f("the access key", true, func(x *state.Txn) { k := *key; k.Enabled = false; x.PutAccessKey(&k) })
	f("the access key's end", true, func(x *state.Txn) { x.DeleteAccessKey(key) })
	f("the user's end", true, func(x *state.Txn) { x.DeleteUser(user) })
	f("the group's end", true, func(x *state.Txn) { x.DeleteGroup(group) })
	f("the policy's end", true, func(x *state.Txn) { x.DeletePolicy(custom) })
	f("asked in between", true, func(x *state.Txn) {
		u := *user
		u.Name = "v"
		x.PutUser(&u)
		x.PrincipalByKey("k", "p")
		g := *group
		g.Roles = nil
		x.PutGroup(&g)
		if p := x.PrincipalByKey("k", "p"); len(p.Held) != 0 || p.User.Name != "v" {
			t.Errorf("asked in between: %+v", p)
		}
	})
}

// However many there are, each is found as itself.
func TestManyPrincipals(t *testing.T) {
	x := state.NewRoot().Txn()
	x.PutDomain(&state.Domain{ID: "d", Name: "d", Enabled: true})
	const many = 100_000 // more than are kept
	for i := range many {
		id := fmt.Sprintf("user-%d", i)
		x.PutUser(&state.User{ID: id, Name: id, DomainID: "d", Enabled: true})
	}
	root := x.Commit()
	for range 2 {
		for i := range many {
			if id := fmt.Sprintf("user-%d", i); root.Principal(id, "").User.ID != id {
				t.Fatalf("%s is another", id)
			}
		}
	}
}

// Whoever asks for one principal at the same time, in whichever project, gets
// them as they are there.
func TestPrincipalsSideBySide(t *testing.T) {
	x := state.NewRoot().Txn()
	x.PutDomain(&state.Domain{ID: "d", Name: "d", Enabled: true})
	projects := []string{"", "p0", "p1", "p2"}
	for _, id := range projects[1:] {
		x.PutProject(&state.Project{ID: id, Name: id, DomainID: "d", Enabled: true})
	}
	for i := range 200 {
		id := fmt.Sprintf("user-%d", i)
		x.PutUser(&state.User{ID: id, Name: id, DomainID: "d", Enabled: true, Roles: []state.RoleBinding{{Role: policy.RoleKMSCrypto, ProjectID: "p1"}}})
	}
	root := x.Commit()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 200 {
				for j := range projects {
					project := projects[(j+worker)%len(projects)]
					p := root.Principal(fmt.Sprintf("user-%d", i), project)
					held := 0
					if project == "p1" {
						held = 1
					}
					if p.UserID != fmt.Sprintf("user-%d", i) || (p.Project == nil) != (project == "") || p.Project != nil && p.Project.ID != project || len(p.Held) != held || !p.Usable {
						t.Errorf("user %d in %q: %+v", i, project, p)
						return
					}
				}
			}
		})
	}
	all.Wait()
}
