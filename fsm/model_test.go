package fsm_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// model is what the keys of a project come to when written as simply as
// possible: a list that is searched from end to end.
type model struct {
	quota int
	keys  []modelKey // in the order of their creation
}

type modelKey struct {
	id, name string
	enabled  bool
}

func (m *model) find(id string) *modelKey {
	for i := range m.keys {
		if m.keys[i].id == id {
			return &m.keys[i]
		}
	}
	return nil
}

// do returns the code of the refusal, empty for done.
func (m *model) do(body command.Body) fsm.Code {
	switch b := body.(type) {
	case command.CreateKey:
		switch {
		case b.Name == "d/default", m.find(b.KeyID) != nil:
			return fsm.CodeInvalid
		case slices.ContainsFunc(m.keys, func(k modelKey) bool { return k.name == b.Name }):
			return fsm.CodeAlreadyExists
		case len(m.keys) >= m.quota:
			return fsm.CodeQuotaExceeded
		}
		m.keys = append(m.keys, modelKey{b.KeyID, b.Name, true})
	case command.EnableKey:
		k := m.find(b.KeyID)
		switch {
		case k == nil:
			return fsm.CodeNotFound
		case k.enabled:
			return fsm.CodeNotDisabled
		}
		k.enabled = true
	case command.DisableKey:
		k := m.find(b.KeyID)
		switch {
		case k == nil:
			return fsm.CodeNotFound
		case !k.enabled:
			return fsm.CodeNotEnabled
		}
		k.enabled = false
	}
	return ""
}

// The machine answers as the model does, and lists what the model lists, in
// pages of any size, in both directions, filtered or not.
func TestKeysAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		naive := model{quota: rapid.IntRange(1, 4).Draw(rt, "quota")}
		setQuota(t, m, naive.quota)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			body := drawBody(rt)
			if command.CallerUser != fsmtest.CallerFor(body.Type()).Kind {
				continue
			}
			want, got := naive.do(body), m.Do(body)
			if code := codeOf(got); code != want {
				rt.Fatalf("%+v: got %q, want %q", body, code, want)
			}
		}
		checkListing(rt, m.State(), naive)
	})
}

func checkListing(t *rapid.T, root *state.Root, naive model) {
	if n := root.KeyCount(fsmtest.ProjectID); n != len(naive.keys) {
		t.Fatalf("%d keys, want %d", n, len(naive.keys))
	}
	onlyEnabled := rapid.Bool().Draw(t, "only enabled")
	var filter func(*state.Key) bool
	if onlyEnabled {
		filter = func(k *state.Key) bool { return k.State == state.Enabled }
	}
	var want []string
	for _, k := range naive.keys {
		if k.enabled || !onlyEnabled {
			want = append(want, k.name)
		}
		byName, ok := root.KeyByName(fsmtest.ProjectID, k.name)
		byID, _ := root.Key(k.id)
		if !ok || byName != byID || (byID.State == state.Enabled) != k.enabled {
			t.Fatalf("key %s: by name %+v, by id %+v", k.name, byName, byID)
		}
	}
	size := rapid.IntRange(1, 5).Draw(t, "page")
	oldestFirst := pages(size, func(after uint64, limit int) []*state.Key {
		return root.KeysOldestFirst(fsmtest.ProjectID, after, limit, filter)
	})
	newestFirst := pages(size, func(before uint64, limit int) []*state.Key {
		return root.Keys(fsmtest.ProjectID, before, limit, filter)
	})
	slices.Reverse(newestFirst)
	if !slices.Equal(oldestFirst, want) || !slices.Equal(newestFirst, want) {
		t.Fatalf("listed %v and (reversed) %v, want %v", oldestFirst, newestFirst, want)
	}
}

// pages walks a list to its end and returns the names on it.
func pages(size int, next func(from uint64, limit int) []*state.Key) []string {
	var names []string
	for from := uint64(0); ; {
		page := next(from, size)
		for _, k := range page {
			names = append(names, k.Name)
			from = k.Sequence
		}
		if len(page) < size || len(names) > 100 { // more than any list here: it repeats itself
			return names
		}
	}
}

func codeOf(r fsm.Result) fsm.Code {
	if r.Refusal == nil {
		return ""
	}
	return r.Refusal.Code
}

// setQuota changes a project behind the machine's back: no command does so yet.
func setQuota(t testing.TB, m *fsmtest.Machine, quota int) {
	t.Helper()
	x := m.State().Txn()
	old, _ := x.Project(fsmtest.ProjectID)
	project := *old
	project.KeyQuota = uint32(quota)
	x.PutProject(&project)
	replace(t, m.Machine, x.Commit())
}
