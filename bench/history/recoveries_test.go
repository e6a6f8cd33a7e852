package history_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/bench/history"
)

// wrote is a write from one second to another.
func wrote(begin, end int, outcome history.Outcome) history.Call {
	return history.Call{Op: history.Disable, Name: "k", Begin: time.Duration(begin) * time.Second, End: time.Duration(end) * time.Second, Outcome: outcome}
}

// healed is a fault from one second to another after which all nodes served at once.
func healed(begin, end int) history.Fault {
	return history.Fault{Kind: "kill-one", Begin: time.Duration(begin) * time.Second, End: time.Duration(end) * time.Second, Served: time.Duration(end) * time.Second}
}

// After a healing a write is acknowledged in time.
func TestWritesReturnAfterAFault(t *testing.T) {
	f := func(want int, faults []history.Fault, calls ...history.Call) {
		t.Helper()
		if got := broken(&history.History{Faults: faults, Calls: calls}, history.ErrNotServing); got != want {
			t.Errorf("%v: %d violations, want %d", calls, got, want)
		}
	}
	one := []history.Fault{healed(10, 20)}
	f(0, one, wrote(21, 22, history.OK))
	f(0, one, wrote(21, 41, history.NotDone), wrote(42, 62, history.OK))
	f(1, one, wrote(21, 41, history.NotDone), wrote(42, 67, history.OK))
	f(0, one, wrote(21, 67, history.OK), wrote(50, 60, history.OK)) // somebody else was served
	f(1, one, wrote(11, 21, history.OK), wrote(21, 70, history.OK)) // the first one had begun before
	f(1, one, wrote(21, 46, history.Unknown), wrote(47, 72, history.Unknown))

	// The load may end before there is a write, or nobody ask for one.
	f(0, one)
	f(0, one, wrote(11, 80, history.OK))
	f(0, one, wrote(21, 46, history.Unknown))
	last := wrote(80, 81, history.OK)
	last.Final = true
	f(0, one, wrote(21, 22, history.NotDone), last)

	// What another fault hinders is judged by its healing, unless there was time
	// enough before.
	f(0, []history.Fault{healed(10, 20), healed(25, 75)}, wrote(21, 80, history.OK), wrote(76, 77, history.OK))
	f(0, []history.Fault{healed(10, 20), healed(15, 75)}, wrote(21, 80, history.OK), wrote(76, 77, history.OK))
	f(1, []history.Fault{healed(10, 20), healed(66, 75)}, wrote(21, 70, history.OK), wrote(76, 77, history.OK))
	f(1, []history.Fault{healed(10, 20), healed(25, 75)}, wrote(76, 130, history.OK))
}

// Not one of them takes too long, but most take long.
func TestMostWritesReturnSoon(t *testing.T) {
	f := func(want, slow, soon int) {
		t.Helper()
		h := new(history.History)
		for i := range slow + soon {
			at, took := 100*i, 20
			if i < soon {
				took = 1
			}
			h.Faults = append(h.Faults, healed(at, at+10))
			h.Calls = append(h.Calls, wrote(at+10, at+10+took, history.OK))
		}
		if got := broken(h, history.ErrNotServing); got != want {
			t.Errorf("%d slow and %d soon: %d violations, want %d", slow, soon, got, want)
		}
	}
	f(0, 9, 0) // too few to tell
	f(1, 10, 0)
	f(1, 6, 4)
	f(0, 4, 6)
}

func TestRecoveriesAreMeasured(t *testing.T) {
	h := &history.History{
		Faults: []history.Fault{healed(10, 20), healed(25, 30), healed(40, 50), healed(60, 70)},
		Calls:  []history.Call{wrote(21, 26, history.OK), wrote(31, 35, history.OK), wrote(32, 34, history.OK), wrote(51, 52, history.OK)},
	}
	if diff := cmp.Diff([]time.Duration{2 * time.Second, 4 * time.Second}, h.Recoveries()); diff != "" {
		t.Errorf("-want+got\n%s", diff)
	}
}
