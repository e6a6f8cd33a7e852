package history_test

import (
	"slices"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

func TestWhatIsDueLaterStays(t *testing.T) {
	f := func(want int, end time.Duration, keys ...history.Seen) {
		t.Helper()
		h := &history.History{
			Delayed:  []history.Delayed{{KeyID: "id", Name: "later", Due: time.Hour}},
			Listings: []history.Listing{{Node: "n1", Begin: time.Second, End: end, Keys: keys}},
		}
		if got := broken(h, history.ErrTooEarly); got != want {
			t.Errorf("%v at %s: %d violations, want %d", keys, end, got, want)
		}
	}
	f(0, 2*time.Second, history.Seen{KeyID: "id", Name: "later", State: history.PendingDeletion})
	f(1, 2*time.Second, history.Seen{KeyID: "id", Name: "later", State: history.Enabled})
	f(1, 2*time.Second, history.Seen{KeyID: "other", Name: "later", State: history.PendingDeletion})
	f(1, 2*time.Second)
	f(0, 2*time.Hour)
}

// A shifted clock explains refusals for a call's date, and traces from another
// time; nothing else does.
func TestAShiftedClock(t *testing.T) {
	const words = "verify aksk signature fail, X-Sdk-Date is more than 15 minutes from the server's time"
	f := func(refused, traced int, faults ...history.Fault) {
		t.Helper()
		h := &history.History{
			Faults: faults,
			Calls: []history.Call{
				{Op: history.MakeKey, Node: "n1", Request: "r1", Begin: 2 * time.Second, End: 3 * time.Second, Outcome: history.NotDone, Error: words, Name: "k"},
				{Op: history.MakeKey, Begin: 2 * time.Second, End: 3 * time.Second, Outcome: history.NotDone, Error: words, Name: "k"},
			},
			Entries: []history.Entry{{Subject: "s", Right: history.Token, Node: "n1", Begin: 2 * time.Second, End: 3 * time.Second, Outcome: history.NotDone, Error: words}},
			Traces:  []history.Trace{{Node: "n1", Request: "r1", Name: "createDataKey", Code: "401", Recorded: time.Hour}},
		}
		if got := broken(h, history.ErrRefusedForTime); got != refused {
			t.Errorf("%v: %d refusals, want %d", faults, got, refused)
		}
		if got := broken(h, history.ErrNotTraced); got != traced {
			t.Errorf("%v: %d traces, want %d", faults, got, traced)
		}
	}
	clock := history.Fault{Kind: "clock-year", Nodes: []string{"n1"}, Begin: time.Second, End: 2500 * time.Millisecond, Served: 4 * time.Second}
	f(0, 0, clock)
	f(3, 1)
	other := clock
	other.Nodes = []string{"n2"}
	f(2, 1, other) // whom our client has asked is not known
	early := clock
	early.End = 1500 * time.Millisecond
	f(3, 1, early)
	killed := clock
	killed.Kind = "kill-one"
	f(3, 1, killed)
	if !slices.ContainsFunc(history.Checkers(), func(c history.Checker) bool { return c.Promise == history.ErrTooEarly }) {
		t.Error("nobody looks for what was done too early")
	}
}
