package fsm_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

var (
	someTags   = rapid.SampledFrom([]string{"stage", "team", "stag", "cost"})
	someValues = rapid.SampledFrom([]string{"", "prod", "test", "prod2"})
)

// drawTags draws a write about tags.
func drawTags(t *rapid.T) command.Body {
	key := someKeys.Draw(t, "key")
	names := rapid.SliceOfNDistinct(someTags, 1, 3, rapid.ID).Draw(t, "tags")
	if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
		b := fsmtest.RemoveTags(key, names...)
		b.All = rapid.Bool().Draw(t, "all")
		if rapid.Bool().Draw(t, "batch") {
			return command.BatchRemoveTags(b)
		}
		return b
	}
	var pairs []string
	for _, name := range names {
		pairs = append(pairs, name, someValues.Draw(t, "value"))
	}
	b := fsmtest.SetTags(key, pairs...)
	if rapid.Bool().Draw(t, "batch") {
		return command.BatchSetTags(b)
	}
	return b
}

// tag is [model.do] for tags, of which a key may have three.
func (m *model) tag(body command.Body) fsm.Code {
	switch b := body.(type) {
	case command.BatchSetTags:
		return m.tag(command.SetTags(b))
	case command.BatchRemoveTags:
		return m.tag(command.RemoveTags(b))
	case command.SetTags:
		k, code := m.own(b.KeyID)
		if code != "" {
			return code
		}
		tags := maps.Clone(k.tags)
		if tags == nil {
			tags = map[string]string{}
		}
		for _, t := range b.Tags {
			tags[t.Key] = t.Value
		}
		if len(tags) > 3 && len(tags) > len(k.tags) {
			return fsm.CodeTagLimit
		}
		k.tags = tags
	case command.RemoveTags:
		k, code := m.own(b.KeyID)
		if code != "" {
			return code
		}
		for _, name := range b.Keys {
			if _, there := k.tags[name]; !there && b.All {
				return fsm.CodeTagNotFound
			}
		}
		for _, name := range b.Keys {
			delete(k.tags, name)
		}
	}
	return ""
}

// own returns a key that may be changed.
func (m *model) own(id string) (*modelKey, fsm.Code) {
	k := m.find(id)
	switch {
	case k == nil:
		return nil, fsm.CodeNotFound
	case k.state == state.PendingDeletion:
		return nil, fsm.CodePendingDeletion
	}
	return k, ""
}

// checkSearch searches as the model does: from end to end.
func checkSearch(t *rapid.T, root *state.Root, naive model) {
	var terms []state.TagTerm
	for _, name := range rapid.SliceOfNDistinct(someTags, 0, 3, rapid.ID).Draw(t, "terms") {
		terms = append(terms, state.TagTerm{Key: name, Values: rapid.SliceOfN(someValues, 0, 3).Draw(t, "values")})
	}
	name := rapid.SampledFrom([]string{"", "a", "ab", "b", "a\x00"}).Draw(t, "named")
	var want []string
	values := map[string][]string{}
	for _, k := range slices.Backward(naive.keys) {
		for name, value := range k.tags {
			if !slices.Contains(values[name], value) {
				values[name] = append(values[name], value)
			}
		}
		if k.meets(terms) && strings.Contains(k.name, name) {
			want = append(want, k.name)
		}
	}
	limit := rapid.IntRange(1, 3).Draw(t, "limit")
	for offset := 0; offset <= len(want)+1; offset++ {
		page, total := root.KeysTagged(fsmtest.ProjectID, terms, name, offset, limit)
		var got []string
		for _, k := range page {
			got = append(got, k.Name)
		}
		from := min(offset, len(want))
		if expected := want[from:min(from+limit, len(want))]; total != len(want) || !slices.Equal(got, expected) {
			t.Fatalf("%+v from %d: %v of %d, want %v of %d", terms, offset, got, total, expected, len(want))
		}
	}
	most := 0
	for _, k := range naive.keys {
		most = max(most, len(k.tags))
	}
	if got := root.MostTags(fsmtest.ProjectID); got != most {
		t.Fatalf("at most %d tags, want %d", got, most)
	}
	listed := root.ProjectTags(fsmtest.ProjectID)
	if len(listed) != len(values) {
		t.Fatalf("the project's tags are %v, want %v", listed, values)
	}
	for i, tag := range listed {
		slices.Sort(values[tag.Key])
		if !slices.Equal(tag.Values, values[tag.Key]) || i > 0 && listed[i-1].Key >= tag.Key {
			t.Fatalf("the project's tags are %v, want %v", listed, values)
		}
	}
}

func (k *modelKey) meets(terms []state.TagTerm) bool {
	for _, term := range terms {
		value, there := k.tags[term.Key]
		if !there || len(term.Values) > 0 && !slices.Contains(term.Values, value) {
			return false
		}
	}
	return true
}

// tagged tells whether a record has the tags of the model's key, in order.
func (k *modelKey) tagged(r *state.Key) bool {
	for i, tag := range r.Tags {
		if value, there := k.tags[tag.Key]; !there || value != tag.Value || i > 0 && r.Tags[i-1].Key >= tag.Key {
			return false
		}
	}
	return len(r.Tags) == len(k.tags)
}

func TestTagsOutOfBoundsAreRefused(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	f := func(want fsm.Code, pairs ...string) {
		t.Helper()
		body := fsmtest.SetTags("a", pairs...)
		body.Most = 60
		before := m.State()
		if got := codeOf(m.Do(body)); got != want {
			t.Errorf("%.80q: %q, want %q", pairs, got, want)
		}
		was, _ := before.Key(fsmtest.KeyID("a"))
		if is, _ := m.State().Key(was.ID); want != "" && is != was {
			t.Errorf("%.80q changed the key", pairs)
		}
	}
	f(fsm.CodeInvalid)
	f(fsm.CodeInvalid, "", "v")
	f(fsm.CodeInvalid, "a\x00b", "v")
	f(fsm.CodeInvalid, "a", "v\n")
	f(fsm.CodeInvalid, "a", "v\u0085")
	f(fsm.CodeInvalid, "a", "v", "a", "w")
	f(fsm.CodeInvalid, strings.Repeat("ü", 129), "v")
	f(fsm.CodeInvalid, "a", strings.Repeat("ü", 257))
	f("", strings.Repeat("ü", 128), strings.Repeat("ü", 256))
	var many []string
	for _, c := range "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		many = append(many, string(c), "")
	}
	f(fsm.CodeInvalid, many[:2*51]...)
	f(fsm.CodeTagLimit, many[:2*50]...) // with the one that is there
	f("", many[:2*49]...)
	f("", many[0], "another value, at the limit")
	for i := 1; i < 49*2; i += 2 {
		many[i] = strings.Repeat("€", 256)
	}
	f(fsm.CodeTagLimit, many[:2*49]...)
}

func TestQuotas(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	f := func(body command.SetQuotas, want fsm.Code) {
		t.Helper()
		if got := codeOf(m.Do(body)); got != want {
			t.Errorf("%+v: %q, want %q", body, got, want)
		}
	}
	f(fsmtest.SetQuotas(fsm.MaxKeyQuota+1, 1, 1, 1), fsm.CodeInvalid)
	f(fsmtest.SetQuotas(1, fsm.MaxGrantQuota+1, 1, 1), fsm.CodeInvalid)
	f(fsmtest.SetQuotas(1, 1, fsm.MaxTags+1, 1), fsm.CodeInvalid)
	f(fsmtest.SetQuotas(1, 1, 1, fsm.MaxTotalGrantQuota+1), fsm.CodeInvalid)
	elsewhere := fsmtest.SetQuotas(1, 1, 1, 1)
	elsewhere.ProjectID = strings.Repeat("0", 32)
	f(elsewhere, fsm.CodeNotFound)

	quotas := func() fsm.Quotas {
		p, _ := m.State().Project(fsmtest.ProjectID)
		return fsm.QuotasOf(p, 20)
	}
	if got := quotas(); got != (fsm.Quotas{Keys: int(state.DefaultKeyQuota), Grants: fsm.DefaultGrantQuota, Tags: 20, TotalGrants: fsm.DefaultTotalGrantQuota}) {
		t.Errorf("at first %+v", got)
	}
	f(fsmtest.SetQuotas(1, 2, 1, 3), "")
	if got := quotas(); got != (fsm.Quotas{Keys: 1, Grants: 2, Tags: 1, TotalGrants: 3}) {
		t.Errorf("then %+v", got)
	}
	if got := codeOf(m.Do(fsmtest.CreateKey("b"))); got != fsm.CodeQuotaExceeded {
		t.Errorf("a second key: %q", got)
	}
	m.Must(fsmtest.SetTags("a", "one", ""))
	if got := codeOf(m.Do(fsmtest.SetTags("a", "two", ""))); got != fsm.CodeTagLimit {
		t.Errorf("a second tag: %q", got)
	}
	two := uint32(2)
	f(command.SetQuotas{ProjectID: fsmtest.ProjectID, Keys: &two}, "")
	if got := quotas(); got != (fsm.Quotas{Keys: 2, Grants: 2, Tags: 1, TotalGrants: 3}) {
		t.Errorf("one alone: %+v", got)
	}
	m.Must(fsmtest.CreateKey("b"))
}
