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

// TestInstallsUnderWay: from the beginning of the first to a while after the end
// of the last.
func TestInstallsUnderWay(t *testing.T) {
	var i installs
	start := time.Now()
	f := func(after time.Duration, want bool) {
		t.Helper()
		if got := i.since(start.Add(after), time.Second); got != want {
			t.Errorf("after %s: %t", after, got)
		}
	}
	f(0, false)
	first, second := i.begin(), i.begin()
	f(time.Hour, true)
	first(start.Add(time.Minute))
	f(time.Hour, true)
	second(start.Add(time.Hour))
	f(time.Hour+time.Second-1, true)
	f(time.Hour+time.Second, false)
}
