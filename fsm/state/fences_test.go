package state_test

import (
	"fmt"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
)

func TestFences(t *testing.T) {
	root := state.NewRoot()
	do := func(index uint64, project, key string) {
		x := root.Txn()
		x.Fenced(index, project, key)
		root = x.Commit()
	}
	f := func(project, key string, of, within, last uint64) {
		t.Helper()
		if got := [3]uint64{root.FenceOf(project, key), root.FenceWithin(project), root.LastFence()}; got != [3]uint64{of, within, last} {
			t.Errorf("project %q, key %q: %v, want %v", project, key, got, [3]uint64{of, within, last})
		}
	}
	f("p", "k", 0, 0, 0)
	do(3, "p", "k")
	f("p", "k", 3, 3, 3)
	f("p", "l", 0, 3, 3)
	f("q", "m", 0, 0, 3)
	do(5, "p", "")
	f("p", "l", 5, 5, 5)
	f("q", "m", 0, 0, 5)
	do(6, "q", "m")
	f("p", "k", 5, 5, 6)
	f("q", "m", 6, 6, 6)
	f("q", "", 0, 6, 6)
	do(8, "", "")
	f("p", "k", 8, 8, 8)
	f("q", "m", 8, 8, 8)

	// What is not kept any more counts for everything; what is kept is exact.
	for i := range uint64(5000) {
		do(10+i, "p", fmt.Sprint(i))
		do(10+i, "p", fmt.Sprint(i)) // again, at the same place
	}
	f("q", "m", 10+5000-4096-1, 10+5000-4096-1, 10+4999)
	f("p", "4999", 10+4999, 10+4999, 10+4999)
	f("p", "4000", 10+4000, 10+4999, 10+4999)
}

// A state of unknown past has everything fenced.
func TestFencesOfASnapshot(t *testing.T) {
	root, err := state.NewLoader().Root(77)
	if err != nil {
		t.Fatal(err)
	}
	if root.LastFence() != 77 || root.FenceOf("p", "k") != 77 || root.FenceWithin("p") != 77 {
		t.Errorf("fences %d, %d, %d, want 77 each", root.LastFence(), root.FenceOf("p", "k"), root.FenceWithin("p"))
	}
}
