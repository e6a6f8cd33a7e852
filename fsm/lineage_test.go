package fsm_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// foundation is what the founding of that name gives a cluster.
func foundation(name string) fsm.Foundation {
	return fsm.Foundation{
		Node: fsmtest.Node("n7"), CACertificate: []byte("another CA"), SealedCAKey: []byte("its key"), SealedGossip: []byte("gossip"), LineageID: fsmtest.ID(name),
	}
}

// refounded is a cluster that was founded from a state, and has come to an index since.
func refounded(t *testing.T, from *state.Root, name string, index uint64) *state.Root {
	t.Helper()
	root, _, err := fsm.Refound(from, nil, foundation(name))
	if err != nil {
		t.Fatal(err)
	}
	readsBack(t, root)
	return gone(root, index)
}

// gone is the state when the cluster has gone on to an index, in which nothing else has changed.
func gone(root *state.Root, index uint64) *state.Root {
	txn := root.Txn()
	txn.SetApplied(index)
	return txn.Commit()
}

// A backup is compared with nothing but what came after it: the same number of a
// generation and a higher index do not make one of two clusters the later state
// of the other.
func TestOnlyWhatCameAfterIsCompared(t *testing.T) {
	m := fsmtest.New(t)
	bootstrap := fsmtest.Bootstrap()
	bootstrap.LineageID = fsmtest.ID("first")
	m.Must(bootstrap)
	first := gone(m.State(), 100)
	blue, red := refounded(t, first, "blue", 200), refounded(t, first, "red", 300)
	if diff := cmp.Diff([]state.Founding{
		{ID: fsmtest.ID("first"), Generation: 1}, {ID: fsmtest.ID("blue"), Generation: 2, From: 100},
	}, blue.Cluster().Lineage); diff != "" {
		t.Errorf("lineage (-want +got):\n%s", diff)
	}
	if blue.Cluster().LineageID() == red.Cluster().LineageID() {
		t.Fatal("two foundings cannot be told apart")
	}

	unnamed := fsmtest.Bootstrapped(t).State() // of a version whose foundings had no ids
	named := refounded(t, gone(unnamed, 100), "named", 200)
	ofGeneration := func(generation uint32, index uint64) *state.Root {
		cluster := *unnamed.Cluster()
		cluster.Generation = generation
		txn := gone(unnamed, index).Txn()
		txn.PutCluster(&cluster)
		return txn.Commit()
	}

	for _, c := range []struct {
		what          string
		backup, newer *state.Root
		refused       string
	}{
		{"itself", blue, blue, ""},
		{"the same cluster, later", blue, gone(blue, 250), ""},
		{"what was founded from it", first, blue, ""},
		{"what was founded from what was founded from it", gone(first, 90), refounded(t, blue, "green", 400), ""},
		{"another one that was founded from the same", blue, red, "was not founded from the one of the backup"},
		{"what was founded from another one", blue, refounded(t, red, "grey", 400), "was not founded from the one of the backup"},
		{"what it was founded from, which has gone on", blue, gone(first, 400), "is older than the backup"},
		{"what was founded from it, but earlier", gone(first, 101), blue, "from index 100, before the backup"},
		{"one of which that is not known", blue, ofGeneration(3, 500), "was not founded from the one of the backup"},

		{"both without ids", unnamed, gone(unnamed, 500), ""},
		{"both without ids, of another generation", unnamed, ofGeneration(3, 500), ""},
		{"without an id, what was founded from it", gone(unnamed, 100), named, ""},
		{"without an id, another of the same generation", ofGeneration(2, 90), named, "was not founded from the one of the backup"},
		{"without an id, what was founded from it, but earlier", gone(unnamed, 101), named, "from index 100, before the backup"},
	} {
		root, _, err := fsm.Refound(c.backup, c.newer, foundation("next"))
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.refused == "" && root.Cluster().LineageID() != fsmtest.ID("next"):
			t.Errorf("%s: of the founding %s", c.what, root.Cluster().LineageID())
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v", c.what, err)
		}
	}

	// What the new cluster has taken of the one that it was compared with makes it
	// no continuation of that one.
	root, _, err := fsm.Refound(first, blue, foundation("next"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := fsm.Refound(blue, gone(root, 500), foundation("last")); err == nil {
		t.Error("compared with what was founded from an earlier backup")
	}

	bad := foundation("next")
	bad.LineageID = ""
	if _, _, err := fsm.Refound(first, nil, bad); err == nil {
		t.Error("founded without an id")
	}
	bootstrap.LineageID = "first"
	if r := fsmtest.New(t).Do(bootstrap).Refusal; r == nil || r.Code != fsm.CodeInvalid {
		t.Errorf("the lineage id %q: %v", bootstrap.LineageID, r)
	}
}
