package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
)

// Who may do this to the key that an alias goes to, takes it from no other key
// without being allowed there, too.
func TestAnAliasIsTakenFromWhoAllowsIt(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateKey("b"))
	m.Must(fsmtest.CreateAlias("a", "x"))
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateAccessKey("ada"))
	only := fsmtest.Allow(policy.ActionAssociateAlias)
	only.Resources = []string{"kms:*:*:KeyId:" + fsmtest.KeyID("b")}
	m.Must(fsmtest.CreatePolicy("p", only))
	m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: fsmtest.ID("p")}})
	f := func(name, alias string, want fsm.Code) {
		t.Helper()
		cmd := m.Command(fsmtest.AssociateAlias(name, alias))
		cmd.Caller = fsmtest.CallerAs("ada")
		if got := codeOf(m.Apply(cmd)[0]); got != want {
			t.Errorf("%s to %s: got %q, want %q", alias, name, got, want)
		}
	}
	f("b", "x", fsm.CodeForbidden)
	f("a", "x", fsm.CodeForbidden)
	f("b", "none", fsm.CodeAliasNotFound)
	if key, _ := m.State().KeyByName(fsmtest.ProjectID, "x"); key.ID != fsmtest.KeyID("a") {
		t.Error("the alias was moved")
	}
	m.Must(fsmtest.AssociateAlias("b", "x")) // by the administrator
	f("b", "x", "")
}

// The place of a key in its project's list is never given out again, though the
// newest key is deleted, or all are.
func TestPlacesAreNeverGivenOutAgain(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	last := uint64(0)
	create := func(name string) {
		t.Helper()
		m.Must(fsmtest.CreateKey(name))
		key, _ := m.State().Key(fsmtest.KeyID(name))
		if key.Sequence != last+1 {
			t.Errorf("key %s has the place %d after %d", name, key.Sequence, last)
		}
		last = key.Sequence
	}
	remove := func(name string) {
		t.Helper()
		m.Must(fsmtest.ScheduleDeletion(name, 1000))
		m.Now += 1000
		m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID(name), Due: m.Now})
	}
	create("a")
	create("b")
	create("c")
	remove("c")
	create("d")
	remove("a")
	remove("d")
	remove("b")
	replace(t, m.Machine, m.State())
	create("e")
	create("f")
}
