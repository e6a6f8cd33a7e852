package fsm_test

import (
	"slices"
	"strings"
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
	now   int64
	quota int
	keys  []modelKey // in the order of their creation
	gone  []string   // ids of keys that were deleted
}

type modelKey struct {
	id, name  string
	state     state.KeyState
	external  bool
	protected bool
	deletion  int64
	days      uint32
	due       int64
	versions  uint32
	aliases   []string // without the prefix
	tags      map[string]string
	grants    []string // ids, the oldest first
	imports   modelImports
}

func (m *model) find(id string) *modelKey {
	for i := range m.keys {
		if m.keys[i].id == id {
			return &m.keys[i]
		}
	}
	return nil
}

// named returns the key with that name or alias.
func (m *model) named(name string) *modelKey {
	name = strings.TrimPrefix(name, "alias/")
	for i := range m.keys {
		if m.keys[i].name == name || slices.Contains(m.keys[i].aliases, name) {
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
		case b.Name == "d/default", m.find(b.KeyID) != nil, slices.Contains(m.gone, b.KeyID):
			return fsm.CodeInvalid
		case m.named(b.Name) != nil:
			return fsm.CodeAlreadyExists
		case len(m.keys) >= m.quota:
			return fsm.CodeQuotaExceeded
		}
		k := modelKey{id: b.KeyID, name: b.Name, state: state.Enabled, versions: 1}
		if b.Origin == state.OriginExternal {
			k.state, k.external, k.versions, k.imports.ofPair = state.PendingImport, true, 0, b.Spec == "EC_P256"
		}
		m.keys = append(m.keys, k)
		return ""
	default:
		return m.live(body)
	}
}

// The machine answers as the model does, and lists what the model lists, in
// pages of any size, in both directions, filtered or not.
func TestKeysAgreeWithTheModel(t *testing.T) {
	agree(t, func(rt *rapid.T, m *fsmtest.Machine) command.Body {
		if rapid.IntRange(0, 2).Draw(rt, "imports") == 0 {
			return drawImport(rt, m)
		}
		return drawBody(rt)
	})
}

// The same for keys with imported material alone, whose stories are longer.
func TestImportsAgreeWithTheModel(t *testing.T) {
	agree(t, drawImport)
}

func agree(t *testing.T, draw func(rt *rapid.T, m *fsmtest.Machine) command.Body) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		naive := model{quota: rapid.IntRange(1, 4).Draw(rt, "quota")}
		setQuota(t, m, naive.quota)
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			body := draw(rt, m)
			if kind := fsmtest.CallerFor(body.Type()).Kind; kind != command.CallerUser && kind != command.CallerSystem {
				continue
			}
			if typ := body.Type(); typ == command.TypeReportNode || typ == command.TypeReportCAs || typ == command.TypeReportRoots || typ == command.TypeRewrapRecords {
				continue // the model knows nothing of roots and nodes
			}
			m.Now += rapid.SampledFrom([]int64{0, 0, 0, 1, 500, 8 * 86_400_000}).Draw(rt, "wait")
			naive.now = m.Now
			want, got := naive.do(body), m.Do(body)
			if code := codeOf(got); code != want {
				rt.Fatalf("%+v: got %q, want %q", body, code, want)
			}
		}
		checkListing(rt, m.State(), naive)
		checkSearch(rt, m.State(), naive)
	})
}

func checkListing(t *rapid.T, root *state.Root, naive model) {
	if n := root.KeyCount(fsmtest.ProjectID); n != len(naive.keys) {
		t.Fatalf("%d keys, want %d", n, len(naive.keys))
	}
	if n := root.GrantCount(fsmtest.ProjectID); n != naive.allGrants() {
		t.Fatalf("%d grants, want %d", n, naive.allGrants())
	}
	onlyEnabled := rapid.Bool().Draw(t, "only enabled")
	var filter func(*state.Key) bool
	if onlyEnabled {
		filter = func(k *state.Key) bool { return k.State == state.Enabled }
	}
	var want []string
	for _, k := range naive.keys {
		if k.state == state.Enabled || !onlyEnabled {
			want = append(want, k.name)
		}
		byName, ok := root.KeyByName(fsmtest.ProjectID, k.name)
		byID, _ := root.Key(k.id)
		if !ok || byName != byID || !k.is(root, byID) {
			t.Fatalf("key %+v: by name %+v, by id %+v", k, byName, byID)
		}
	}
	wanted := state.KeyFilter{State: rapid.SampledFrom([]state.KeyState{0, state.Enabled, state.Disabled, state.PendingDeletion}).Draw(t, "state")}
	offset, limit := rapid.IntRange(0, 5).Draw(t, "offset"), rapid.IntRange(1, 4).Draw(t, "limit")
	var selected []string
	for _, k := range slices.Backward(naive.keys) {
		if wanted.State == 0 || k.state == wanted.State {
			selected = append(selected, k.name)
		}
	}
	paged, total := root.KeyPage(fsmtest.ProjectID, wanted, offset, limit)
	var got []string
	for _, k := range paged {
		got = append(got, k.Name)
	}
	from := min(offset, len(selected))
	if total != len(selected) || !slices.Equal(got, selected[from:min(from+limit, len(selected))]) {
		t.Fatalf("page %d+%d of state %v: %v of %d, want it of %v", offset, limit, wanted.State, got, total, selected)
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
	three := uint32(3)
	project.GrantQuota = &three
	four := uint32(4)
	project.TotalGrantQuota = &four
	x.PutProject(&project)
	replace(t, m.Machine, x.Commit())
}
