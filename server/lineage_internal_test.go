package server

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
)

// A node says of which generation a backup is, and verifies none that its own
// cluster did not come from, whatever number its generation has.
func TestOlderBackup(t *testing.T) {
	of := func(generation uint32, lineage ...state.Founding) *state.Cluster {
		return &state.Cluster{Generation: generation, Lineage: lineage}
	}
	first := state.Founding{ID: "first", Generation: 1}
	blue := state.Founding{ID: "blue", Generation: 2, From: 100}
	red := state.Founding{ID: "red", Generation: 2, From: 100}
	green := state.Founding{ID: "green", Generation: 3, From: 200}
	for _, c := range []struct {
		what          string
		ours, theirs  *state.Cluster
		index         uint64
		says, refused string
	}{
		{"the same", of(2, first, blue), of(2, first, blue), 150, "", ""},
		{"the one before", of(2, first, blue), of(1, first), 100, "of generation 1, before the restore or recovery that founded generation 2", ""},
		{"the one before that", of(3, first, blue, green), of(1, first), 90, "of generation 1, before the restore or recovery that founded generation 2", ""},
		{"the one before, which went on", of(3, first, blue, green), of(2, first, blue), 201, "of generation 2, up to index 201; generation 3 was founded from its index 200", ""},
		{"another of the same number", of(2, first, blue), of(2, first, red), 150, "", `generation 2 of this cluster (lineage "red") that this node's generation 2 (lineage "blue") did not come from: check it at`},
		{"one that came from another", of(2, first, blue), of(3, first, red, green), 250, "", `(lineage "green")`},
		{"one that came from it", of(1, first), of(2, first, blue), 150, "", `(lineage "blue")`},

		{"both without ids", of(2), of(2), 100, "", ""},
		{"both without ids, an older one", of(2), of(1), 100, "of generation 1, and this cluster is of generation 2", ""},
		{"without an id, before all with one", of(2, blue), of(1), 100, "of generation 1, before the restore or recovery that founded generation 2", ""},
		{"without an id, of a number that has one", of(3, blue, green), of(2), 100, "", `generation 2 of this cluster (lineage "")`},
		{"with an id, at a node of a cluster without", of(1), of(2, blue), 100, "", `(lineage "blue")`},
	} {
		says, err := olderThan(c.ours, c.theirs, c.index)
		if c.refused == "" && (err != nil || !strings.HasPrefix(says, c.says) || (says == "") != (c.says == "")) {
			t.Errorf("%s: %q, %v", c.what, says, err)
		}
		if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %q, %v", c.what, says, err)
		}
	}
}
