package state_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
)

// someKey is one of the keys that a search is tried on: over several blocks,
// with tags and names that many have, few, or one.
func someKey(random *rand.Rand, i int) *state.Key {
	k := &state.Key{
		ID: fmt.Sprintf("key-%06d", i), ProjectID: "p", Name: fmt.Sprintf("%s-%d", []string{"orders", "bills", "x"}[random.IntN(3)], i),
		Spec: "AES_256", State: state.Enabled, Sequence: uint64(i + 1), Default: i%50 == 7,
	}
	if k.Default {
		return k
	}
	if i/512 == 2 { // and for one part, names of more pairs of letters than are noted
		for range 20 {
			k.Name += string([]byte{byte(33 + random.IntN(90)), byte(33 + random.IntN(90)), "zx-"[random.IntN(3)]})
		}
		k.Name += "\u2192"
	}
	for _, tag := range []state.Tag{
		{Key: "stage", Value: []string{"test", "live", "canary"}[min(2, random.IntN(40))]}, {Key: "team", Value: fmt.Sprint(random.IntN(9))}, {Key: "own", Value: fmt.Sprint(i)},
	} {
		if random.IntN(3) > 0 {
			k.Tags = append(k.Tags, tag)
		}
	}
	return k
}

// A search finds what one finds by looking at every key, whatever has become of
// the keys since the last one.
func TestKeysTaggedAndNamed(t *testing.T) {
	const keys = 4700
	random := rand.New(rand.NewPCG(1, 2))
	x := state.NewRoot().Txn()
	for i := range keys {
		x.PutKey(someKey(random, i))
	}
	x.PutKey(&state.Key{ID: "foreign", ProjectID: "pp", Name: "orders-foreign", Spec: "AES_256", Sequence: 1, Tags: []state.Tag{{Key: "stage", Value: "test"}}})
	root := x.Commit()
	for range 2 {
		searchAll(t, root)
		searchAll(t, root) // with what the first one has kept
		x := root.Txn()
		for range 200 {
			i := random.IntN(keys)
			id := fmt.Sprintf("key-%06d", i)
			switch old, there := x.Key(id); {
			case there && random.IntN(3) == 0:
				x.DeleteKey(old)
			default: // another name, other tags, or there again
				x.PutKey(someKey(random, i))
			}
		}
		before := root
		root = x.Commit()
		searchAll(t, before) // an older state is as it was
	}
}

func searchAll(t *testing.T, root *state.Root) {
	t.Helper()
	term := func(key string, values ...string) state.TagTerm { return state.TagTerm{Key: key, Values: values} }
	for _, terms := range [][]state.TagTerm{
		nil, {term("stage")}, {term("stage", "test")}, {term("stage", "canary", "live", "canary")}, {term("stage", "none")}, {term("none")},
		{term("stage", "test"), term("team", "1", "2")}, {term("team", "3"), term("stage"), term("own")}, {term("own", "7", "513", "2001"), term("stage", "test", "live")},
	} {
		for _, name := range []string{"", "orders", "-1", "s-2", "x-100", "7", "77", "z", "s-4-", "no such name", "\x00", "s\x00", "\u2192"} {
			want := root.Keys("p", 0, 1<<30, func(k *state.Key) bool {
				return !k.Default && strings.Contains(k.Name, name) && meets(k, terms)
			})
			for _, offset := range []int{0, 1, 300, 512, len(want) - 1, len(want), len(want) + 5} {
				if offset < 0 {
					continue
				}
				page, total := root.KeysTagged("p", terms, name, offset, 100)
				from := min(offset, len(want))
				if rest := want[from:min(from+100, len(want))]; total != len(want) || !slices.Equal(page, rest) {
					t.Fatalf("%v named %q from %d: %d keys of %d, want %d of %d", terms, name, offset, len(page), total, len(rest), len(want))
				}
			}
			if page, total := root.KeysTagged("p", terms, name, 0, 0); len(page) != 0 || total != len(want) {
				t.Fatalf("%v named %q: counted %d, want %d", terms, name, total, len(want))
			}
		}
	}
}

func meets(k *state.Key, terms []state.TagTerm) bool {
	for _, term := range terms {
		if value, has := k.Tag(term.Key); !has || len(term.Values) > 0 && !slices.Contains(term.Values, value) {
			return false
		}
	}
	return true
}
