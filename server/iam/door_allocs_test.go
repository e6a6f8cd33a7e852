//go:build !race

// Under the race detector a sync.Pool drops some of what it is given, on
// purpose, so there is nothing to count there.

package iam_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

func TestTheDoorAllocatesTwiceAtMost(t *testing.T) {
	root := fsmtest.Bootstrapped(t).State()
	for layout := range layouts {
		v, rc := newFoundedVerifier(t), asked(t, layout)
		if got := testing.AllocsPerRun(1000, func() { through(t, v, root, rc) }); got > 2 {
			t.Errorf("layout %s: %v allocations a request", layout, got)
		}
	}
}
