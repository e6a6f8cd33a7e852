package cluster

import (
	"testing"
	"time"
)

// TestStuckTransfer: a leader is stuck that has refused without a pause for as
// long as no transfer takes; neither a command that is taken in between nor a
// time without any is counted in.
func TestStuckTransfer(t *testing.T) {
	const start = 100 * time.Second
	f := func(what string, want bool, answered func(at moment) bool, times ...moment) {
		t.Helper()
		var w transferWatch
		stuck := false
		for _, at := range times {
			if answered(at) {
				w.answered()
			} else {
				stuck = w.refused(start + at)
			}
		}
		if stuck != want {
			t.Errorf("%s: stuck is %t", what, stuck)
		}
	}
	never := func(moment) bool { return false }
	var second, long []moment
	for at := moment(0); at <= stuckAfter; at += time.Second {
		long = append(long, at)
		second = append(second, at/20)
	}
	f("a transfer of half a second", false, never, second...)
	f("for too long", true, never, long...)
	f("one is taken in between", false, func(at moment) bool { return at == 5*time.Second }, long...)
	f("two transfers with a pause", false, never, 0, stuckAfter)
	f("just not long enough", false, never, long[:len(long)-1]...)
}
