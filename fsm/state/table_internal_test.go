package state

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A table is an ordered map, however it came to be, and one that a Root holds
// stays as it is whatever is written later.
func TestTablesAreOrderedMapsThatDoNotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			table table[int]
			want  map[string]int
		}
		key := rapid.StringMatching(`[ab]{0,2}[a-d]{0,2}`)
		now, want := newTable[int](), map[string]int{}
		var roots []kept
		for i := range rapid.IntRange(0, 600).Draw(t, "writes") {
			k := key.Draw(t, "key")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				now.commit()
				roots = append(roots, kept{now, maps.Clone(want)})
			case 1, 2, 3:
				now.remove([]byte(k))
				delete(want, k)
			default:
				old, had := want[k]
				if got, replaced := now.insert([]byte(k), i); got != old || replaced != had {
					t.Fatalf("inserting %q replaced %d, %t, not %d, %t", k, got, replaced, old, had)
				}
				want[k] = i
			}
		}
		for _, r := range append(roots, kept{now, want}) {
			compareTable(t, &r.table, r.want, key.Draw(t, "sought"))
		}
	})
}

// compareTable looks at a table in every way, from one key.
func compareTable(t *rapid.T, table *table[int], want map[string]int, from string) {
	keys := slices.Sorted(maps.Keys(want))
	at, found := slices.BinarySearch(keys, from)
	upTo := at
	if found {
		upTo++
	}
	below := slices.Clone(keys[:upTo])
	slices.Reverse(below)
	under := slices.Clone(keys)
	under = slices.DeleteFunc(under, func(key string) bool { return !strings.HasPrefix(key, from) })
	var stepped []string
	var w walkDown[int]
	for w.from(table, []byte(from)); w.ok; w.step() {
		stepped = append(stepped, w.at.Key())
	}
	names := func(walk func(func(string, int) bool)) (all []string) {
		for key, value := range walk {
			if value != want[key] {
				t.Fatalf("%q is %d, not %d", key, value, want[key])
			}
			all = append(all, key)
		}
		return all
	}
	for what, pair := range map[string][2][]string{
		"all":     {names(table.all()), keys},
		"up":      {names(table.up([]byte(from))), keys[at:]},
		"down":    {names(table.down([]byte(from))), below},
		"stepped": {stepped, below},
		"under":   {names(table.under([]byte(from))), under},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Fatalf("%s from %q: %q, not %q", what, from, pair[0], pair[1])
		}
	}
	value, ok := table.get([]byte(from))
	first, _, some := table.first()
	last, _, _ := table.last()
	if table.size() != len(want) || ok != found || value != want[from] || some != (len(keys) > 0) || some && (first != keys[0] || last != keys[len(keys)-1]) {
		t.Fatalf("%d entries, %q: %d, %t; from %q to %q; not %d, %d, %t", table.size(), from, value, ok, first, last, len(want), want[from], found)
	}
}
