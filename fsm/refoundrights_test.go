package fsm_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// Who may do what after a restore is what the newer state says, however something
// was taken away since the backup; and no token from before counts, with or
// without one.
func TestRefoundTakesRights(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	id := fsmtest.ID
	attach := func(user, group, policy, project string) {
		t.Helper()
		b := command.Binding{Policy: policy, ProjectID: project}
		if b.UserID, b.GroupID = "", id(group); user != "" {
			b.UserID, b.GroupID = id(user), ""
		}
		m.Must(command.AttachPolicy{Binding: b})
	}
	for _, user := range []string{"left", "denied", "narrowed", "same", "deleted", "revoked", "detached"} {
		m.Must(fsmtest.CreateUser(user))
		m.Must(fsmtest.CreateAccessKey(user))
	}
	m.Must(fsmtest.CreateGroup("g"))
	m.Must(fsmtest.CreateGroup("gone"))
	m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")))
	attach("", "g", id("p"), "")
	attach("", "gone", policy.RoleKMSReadOnly, "")
	attach("denied", "", policy.RoleKeyAdministrator, "")
	attach("detached", "", policy.RoleKeyAdministrator, "")
	attach("same", "", policy.RoleKeyAdministrator, "")
	m.Must(command.AddMember{GroupID: id("g"), UserID: id("left")})
	m.Must(command.AddMember{GroupID: id("gone"), UserID: id("same")})
	m.Must(command.AddMember{GroupID: id("g"), UserID: id("narrowed")})
	m.Must(fsmtest.AddCA("ca"))
	m.Must(fsmtest.AddCA("kept"))
	m.Must(command.CreateProject{ID: id("closed"), Name: "closed"})
	backup := m.State()

	m.Must(command.RemoveMember{GroupID: id("g"), UserID: id("left")})
	m.Must(fsmtest.CreatePolicy("q", fsmtest.Deny("kms:*")))
	attach("denied", "", id("q"), "")
	m.Must(command.DetachPolicy{Binding: command.Binding{UserID: id("detached"), Policy: policy.RoleKeyAdministrator}})
	m.Must(command.UpdatePolicy{ID: id("p"), Name: "p", Document: fsmtest.CreatePolicy("p", fsmtest.Allow("kms:cmk:get")).Document})
	m.Must(command.DeleteUser{ID: id("deleted")})
	m.Must(command.DeleteGroup{ID: id("gone")})
	m.Must(fsmtest.CreateGroup("later"))
	m.Must(fsmtest.CreateUser("eve"))
	m.Must(command.AddMember{GroupID: id("later"), UserID: id("eve")})
	m.Must(command.AddMember{GroupID: id("later"), UserID: id("same")})
	m.Must(command.CreateProject{ID: id("new"), Name: "new"})
	attach("same", "", policy.RoleKMSReadOnly, id("new"))
	m.Must(command.SetPassword{UserID: id("revoked"), Hash: fsmtest.PasswordHash})
	m.Must(command.RemoveProvider{ID: "ca"})
	m.Must(command.UpdateProject{ID: id("closed"), Enabled: false})
	newer := m.State()

	with := foundation("next")
	with.KeepEnabled = true
	root, undone, err := fsm.Refound(backup, newer, with)
	if err != nil {
		t.Fatal(err)
	}
	want := &fsm.Undone{
		Index: newer.Applied() + 1, Generation: 2, Removed: []string{fsmtest.NodeID},
		DisabledUsers: []string{id("deleted")}, DisabledAccess: []string{fsmtest.AccessKey("deleted")}, DisabledProjects: []string{id("closed")},
		ChangedUsers:  []string{id("left"), id("denied"), id("same"), id("revoked"), id("detached")},
		DeletedGroups: []string{id("gone")}, ChangedPolicies: []string{id("p")}, ChangedProviders: []string{"ca"},
	}
	if diff := cmp.Diff(want, undone, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Errorf("undone (-want +got):\n%s", diff)
	}
	may := func(user, action string, want bool) {
		t.Helper()
		r := fsm.Request{Action: action, ProjectID: fsmtest.ProjectID, Now: m.Now}
		if refusal := fsm.Authorize(root, fsmtest.CallerAs(user), r); (refusal == nil) != want {
			t.Errorf("%s by %s: %v", action, user, refusal)
		}
	}
	const create = "kms:cmk:create"
	may("left", create, false)
	may("denied", create, false)
	may("detached", create, false)
	may("narrowed", create, false)
	may("narrowed", "kms:cmk:get", true)
	may("same", create, true)
	may("deleted", create, false)
	if _, there := root.User(id("eve")); there {
		t.Error("a user that was made after the backup is there")
	}
	if same, _ := root.User(id("same")); len(same.Roles) != 1 || len(same.Groups) != 1 || same.Groups[0] != id("later") {
		t.Errorf("what is bound to a project that is not there: %+v", same)
	}
	if revoked, _ := root.User(id("revoked")); revoked.PasswordHash != fsmtest.PasswordHash {
		t.Error("the password from before a change is good again")
	}
	if providers := root.Providers(); len(providers) != 1 || providers[0].ID != "kept" {
		t.Errorf("providers %+v", providers)
	}
	readsBack(t, root)

	alone, undone, err := fsm.Refound(backup, nil, with)
	if err != nil || undone.ChangedUsers != nil {
		t.Fatalf("%+v, %v", undone, err)
	}
	for user := range backup.AllUsers() {
		ended, _ := alone.User(user.ID)
		if ended.Epoch != alone.Applied() || ended.PasswordHash != user.PasswordHash || !cmp.Equal(ended.Groups, user.Groups) {
			t.Errorf("without a newer state: %+v", ended)
		}
	}
	if before, after := byToken("a", 0), byToken("b", alone.Applied()); fsm.Authorize(alone, before, fsm.Request{Action: policy.ActionListKeys, ProjectID: fsmtest.ProjectID, Now: m.Now}) == nil ||
		fsm.Authorize(alone, after, fsm.Request{Action: policy.ActionListKeys, ProjectID: fsmtest.ProjectID, Now: m.Now}) != nil {
		t.Error("a token from before counts, or one from after does not")
	}
	readsBack(t, alone)
}
