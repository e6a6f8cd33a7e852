package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestInstalls: the same snapshot twice in a row and within a minute is one too many.
func TestInstalls(t *testing.T) {
	var i installs
	start := time.Now()
	f := func(id raft.ServerID, index uint64, after time.Duration, want bool) {
		t.Helper()
		if got := i.took(id, index, start.Add(after)); got != want {
			t.Errorf("snapshot %d to %s after %s: %t", index, id, after, got)
		}
	}
	f("a", 7, 0, false)
	f("b", 7, time.Second, false)
	f("a", 7, 2*time.Second, true)
	f("a", 9, 3*time.Second, false)
	f("a", 7, 4*time.Second, false)
	f("b", 7, time.Second+installAgain, false)
}
