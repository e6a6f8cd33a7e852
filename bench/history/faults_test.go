package history_test

import (
	"errors"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// broken is how many violations of a promise there are.
func broken(h *history.History, promise error) (count int) {
	for _, v := range history.Check(h) {
		if errors.Is(v, promise) {
			count++
		}
	}
	return count
}

func TestServiceReturnsAfterAFault(t *testing.T) {
	f := func(end, served time.Duration, want int) {
		t.Helper()
		h := &history.History{Faults: []history.Fault{{Kind: "kill-one", Begin: time.Second, End: end, Served: served}}}
		if got := broken(h, history.ErrNotServing); got != want {
			t.Errorf("healed at %s and served at %s: %d violations, want %d", end, served, got, want)
		}
	}
	f(2*time.Second, 2*time.Second, 0)
	f(2*time.Second, time.Minute, 0)
	f(2*time.Second, 10*time.Minute, 1)
	f(2*time.Second, 0, 1)
}

func TestOneSnapshotIsEnough(t *testing.T) {
	at := func(node string, seconds int) history.Install {
		return history.Install{Node: node, At: time.Duration(seconds) * time.Second}
	}
	var met []string
	f := func(want, terms int, installs ...history.Install) {
		t.Helper()
		h := &history.History{
			Faults:   []history.Fault{{Kind: "leave-behind", Nodes: met, Begin: 10 * time.Second, End: 20 * time.Second, Served: 30 * time.Second}},
			Installs: installs,
		}
		for i := range terms {
			h.Statuses = append(h.Statuses, history.Status{Node: "n1", PID: 1, Begin: 15 * time.Second, End: 15 * time.Second, Term: uint64(i + 1)})
		}
		if got := broken(h, history.ErrInstalledAgain); got != want {
			t.Errorf("%v, %d terms: %d violations, want %d", installs, terms, got, want)
		}
	}
	f(0, 1)
	f(0, 1, at("n1", 25))
	f(0, 1, at("n1", 25), at("n2", 25))
	f(0, 1, at("n1", 25), at("n1", 35))
	f(1, 1, at("n1", 25), at("n1", 27))
	f(1, 0, at("n1", 11), at("n1", 27))
	f(0, 2, at("n1", 25), at("n1", 27))
	f(1, 2, at("n1", 25), at("n1", 27), at("n1", 28))
	met = []string{"n1", "n2", "n1"} // n1 was away twice
	f(0, 1, at("n1", 25), at("n1", 27))
	f(1, 1, at("n1", 25), at("n1", 27), at("n1", 28))
	f(1, 1, at("n2", 25), at("n2", 27))
}

func TestATermHasOneLeader(t *testing.T) {
	said := func(node string, pid int, term uint64, leader string) history.Status {
		return history.Status{Node: node, PID: pid, Term: term, Leader: leader}
	}
	f := func(want int, statuses ...history.Status) {
		t.Helper()
		if got := broken(&history.History{Statuses: statuses}, history.ErrTwoLeaders); got != want {
			t.Errorf("%+v: %d violations, want %d", statuses, got, want)
		}
	}
	twice := func(s history.Status) []history.Status { return []history.Status{s, s} }
	f(0, append(twice(said("n1", 1, 3, "n1")), twice(said("n2", 2, 3, "n1"))...)...)
	f(0, append(twice(said("n1", 1, 3, "n1")), twice(said("n2", 2, 4, "n2"))...)...)
	f(1, append(twice(said("n1", 1, 3, "n1")), twice(said("n2", 2, 3, "n2"))...)...)
	f(0, append(twice(said("n1", 1, 3, "n1")), said("n2", 2, 3, "n2"), said("n2", 2, 4, "n2"))...) // read at two moments
	f(0, append(twice(said("n1", 1, 3, "n1")), said("n2", 2, 3, "n2"), said("n2", 3, 3, "n1"))...)
}

func TestANodeThatBeganAnewHasNoTerm(t *testing.T) {
	h := &history.History{Statuses: []history.Status{{Node: "n1", PID: 1, Term: 3, Applied: 9}, {Node: "n1", PID: 2, Term: 1, Fresh: 1}}}
	if got := broken(h, history.ErrWentBack); got != 0 {
		t.Errorf("%d violations", got)
	}
	h.Statuses[1].Fresh = 0
	if got := broken(h, history.ErrWentBack); got != 1 {
		t.Errorf("%d violations where it did not begin anew", got)
	}
}

func TestANodeWithoutItsHSMAnswers(t *testing.T) {
	f := func(want int, change func(*history.Call)) {
		t.Helper()
		c := history.Call{Op: history.MakeKey, Name: "k", Node: "n1", Begin: 11 * time.Second, End: 36 * time.Second, Outcome: history.Unknown}
		change(&c)
		h := &history.History{
			Calls:  []history.Call{c},
			Faults: []history.Fault{{Kind: "hsm-unplugged", Nodes: []string{"n1"}, Begin: 10 * time.Second, End: 20 * time.Second, Served: 21 * time.Second}},
		}
		if got := broken(h, history.ErrHung); got != want {
			t.Errorf("%s: %d violations, want %d", &c, got, want)
		}
	}
	f(1, func(*history.Call) {})
	f(0, func(c *history.Call) { c.Node = "n2" })
	f(0, func(c *history.Call) { c.Begin = 22 * time.Second })
	f(0, func(c *history.Call) { c.End = 12 * time.Second }) // its caller has gone away
	f(0, func(c *history.Call) { c.Outcome, c.Code = history.NotDone, "KMS.0104" })
}
