package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

func TestSetConsistency(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	f := func(mode state.Consistency, maxAge int64, want fsm.Code) {
		t.Helper()
		before := *m.State().Cluster()
		result := m.Do(command.SetConsistency{Mode: mode, MaxAge: maxAge})
		after := m.State().Cluster()
		if want != "" {
			if result.Refusal == nil || result.Refusal.Code != want || after.Consistency != before.Consistency {
				t.Errorf("mode %v, %d ms: %+v, mode now %v", mode, maxAge, result, after.Consistency)
			}
			return
		}
		if result.Refusal != nil || after.Consistency != mode || after.MaxAge != maxAge || after.Fence != result.Index || m.State().LastFence() != result.Index {
			t.Errorf("mode %v, %d ms: %+v, cluster %+v", mode, maxAge, result, after)
		}
	}
	f(state.ConsistencyStrict, 0, "")
	f(state.ConsistencyStrict, 5000, fsm.CodeInvalid)
	f(state.ConsistencyAvailable, 0, fsm.CodeInvalid)
	f(state.ConsistencyAvailable, 4999, fsm.CodeInvalid)
	f(state.ConsistencyAvailable, 60_001, fsm.CodeInvalid)
	f(state.ConsistencyAvailable, 5000, "")
	f(state.ConsistencyAvailable+1, 0, fsm.CodeInvalid)
	f(state.ConsistencyLease, 0, "")
}

// The record says until when nodes without contact may go by what was allowed
// before, however often the mode is changed meanwhile.
func TestEarlierModesAreRemembered(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	f := func(mode state.Consistency, maxAge, want int64) {
		t.Helper()
		m.Must(command.SetConsistency{Mode: mode, MaxAge: maxAge})
		if got := m.State().Cluster().StaleUntil; got != want {
			t.Errorf("old states answer until %d, want %d", got, want)
		}
	}
	f(state.ConsistencyAvailable, 60_000, 0)
	long := m.Now + 60_000 + 7500 + 10_000 // by the slowest clock, and that of a leader behind
	f(state.ConsistencyAvailable, 5000, long)
	f(state.ConsistencyStrict, 0, long)
	f(state.ConsistencyStrict, 0, long)
	m.Now = long
	f(state.ConsistencyAvailable, 5000, long)
	f(state.ConsistencyLease, 0, long+5000+625+10_000)
}

// What a command leaves to be released concerns what it says that it does.
func TestScopesOfFences(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateKey("b"))
	if m.State().LastFence() != 0 {
		t.Fatalf("something was fenced before: %d", m.State().LastFence())
	}
	disabled := m.Must(fsmtest.DisableKey("a")).Index
	root := m.State()
	if a, b, within := root.FenceOf(fsmtest.ProjectID, fsmtest.KeyID("a")), root.FenceOf(fsmtest.ProjectID, fsmtest.KeyID("b")), root.FenceWithin(fsmtest.ProjectID); a != disabled || b != 0 || within != disabled {
		t.Errorf("after disabling a at %d: a %d, b %d, within the project %d", disabled, a, b, within)
	}
	renamed := m.Must(fsmtest.RenameKey("b", "c")).Index
	if got := m.State().FenceOf(fsmtest.ProjectID, fsmtest.KeyID("a")); got != renamed {
		t.Errorf("after renaming b at %d: %d", renamed, got)
	}
	set := m.Must(command.SetConsistency{Mode: state.ConsistencyStrict}).Index
	if got := m.State().FenceOf("another project", "x"); got != set {
		t.Errorf("after a command about the cluster at %d: %d", set, got)
	}
}

// A command that only adds is told when what its answer may follow from is
// released: of its key where that alone counts, else of the whole project.
func TestFencesOfWhatOnlyAdds(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateKey("b"))
	ofB := m.Must(fsmtest.DisableKey("b")).Index
	m.Must(fsmtest.EnableKey("b"))
	ofA := m.Must(fsmtest.DisableKey("a")).Index
	f := func(what string, body command.Body, want uint64) {
		t.Helper()
		results, fences, err := m.ApplyFenced([]fsm.Entry{m.Entry(m.Command(body))})
		if err != nil || results[0].Refusal != nil || fences[0] != want {
			t.Errorf("%s: %v, %v, waits for %v, want %d", what, results, err, fences, want)
		}
	}
	f("a description", command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("b"), Description: "x"}, ofB)
	f("a grant", fsmtest.CreateGrant("g", "b", fsmtest.UserID, state.GrantDecryptData), ofB)
	f("an alias", fsmtest.CreateAlias("b", "alias/other"), ofA)
	f("a key", fsmtest.CreateKey("c"), ofA)
	f("enabling", fsmtest.EnableKey("a"), ofA)
	renamed := m.Must(fsmtest.RenameKey("a", "d")).Index
	f("a description after a name was given up", command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("b"), Description: "y"}, renamed)
}
