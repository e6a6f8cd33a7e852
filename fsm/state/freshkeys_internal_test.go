package state

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/tidwall/btree"
)

// manyKeys is a state of three projects whose keys were put one by one, some of
// them changed and some deleted since.
func manyKeys(t *testing.T) *Root {
	t.Helper()
	x := NewRoot().Txn()
	for p := range 3 {
		project := fmt.Sprintf("project-%d", p)
		x.PutProject(&Project{ID: project, Name: project})
		for i := range uint64(700 * p) {
			key := &Key{
				ID: fmt.Sprintf("%08x-%d", (i*2654435761)%(1<<32), p), ProjectID: project, Name: fmt.Sprintf("name-%d", (i*7919)%1000003),
				Spec: []string{"AES_256", "RSA_2048"}[i%5/4], State: KeyState(i%3) + 1, Sequence: i*3 + 1, Default: i%97 == 0, Grants: uint32(i % 2),
			}
			if i%4 == 0 {
				key.Tags = []Tag{{Key: "stage", Value: fmt.Sprint(i % 3)}, {Key: "team", Value: "a"}}
			}
			x.PutKey(key)
			x.PutVersion(&Version{KeyID: key.ID, Number: 1})
			switch {
			case i%11 == 0:
				x.PutAlias(&Alias{ProjectID: project, Name: "alias/" + key.ID, KeyID: key.ID})
			case i%13 == 0:
				renamed := *key
				renamed.Name, renamed.State, renamed.Tags = "re"+key.Name, PendingDeletion, nil
				renamed.Deletion = int64(i)
				x.PutKey(&renamed)
			case i%17 == 0:
				x.DeleteKey(key)
			}
		}
	}
	return x.Commit()
}

// TestIndexesOfALoadedState: the indexes that are made of all keys at once are
// those that the keys' own writes have made.
func TestIndexesOfALoadedState(t *testing.T) {
	made := manyKeys(t)
	l := NewLoader()
	for table, record := range made.Records() {
		if err := l.Load(table, record); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := l.Root(made.Applied())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Hash() != made.Hash() {
		t.Error("another state hash")
	}
	same(t, "names", made.keyNames.tree, loaded.keyNames.tree)
	same(t, "places", made.keyOrder.tree, loaded.keyOrder.tree)
	same(t, "counts", made.keyCounts.tree, loaded.keyCounts.tree)
	same(t, "aliases", made.keyAliases.tree, loaded.keyAliases.tree)
	same(t, "lists", made.keyLists.tree, loaded.keyLists.tree)
	same(t, "counts of lists", made.listCounts.tree, loaded.listCounts.tree)
	same(t, "counts of blocks", made.blockCounts.tree, loaded.blockCounts.tree)
	same(t, "timers", made.timers.tree, loaded.timers.tree)
	same(t, "tags", made.tagPlaces.tree, loaded.tagPlaces.tree)
	same(t, "counts of tags", made.tagCounts.tree, loaded.tagCounts.tree)
	same(t, "loads", made.loads.tree, loaded.loads.tree)
	same(t, "counts of grants", made.grantCounts.tree, loaded.grantCounts.tree)
	same(t, "blocks of names", made.nameBlocks.tree, loaded.nameBlocks.tree)
}

func same[T any](t *testing.T, what string, made, loaded *btree.Map[string, T]) {
	t.Helper()
	want, got := maps.Collect(made.Scan), maps.Collect(loaded.Scan)
	if len(want) == 0 {
		t.Errorf("%s: there are none to compare", what)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[key]; !ok || !reflect.DeepEqual(value, want[key]) {
			t.Errorf("%s: %q is %+v, not %+v", what, key, value, want[key])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d entries, not %d", what, len(got), len(want))
	}
}
