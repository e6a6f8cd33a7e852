package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestLeases plays thousands of schedules: no answer contradicts an earlier
// one, by the indexes that the world knows and by what clients see; no fence
// takes longer than a lease; the schedules are other ones each time, and every one of
// them is judged. Some of those that are always the same find every flaw that is put in.
func TestLeases(t *testing.T) {
	t.Parallel()
	const schedules = 2000
	f := func(what flaw, start, seeds uint64) {
		t.Helper()
		var uses, denied, leased, granted, elections, fences, old, unordered, hard int
		var first string
		for seed := start; seed < start+seeds; seed++ {
			if what != none && old > 0 && (unordered > 0 || what != unreleased) {
				break
			}
			w := play(seed, what)
			granted, elections, fences = granted+w.granted, elections+w.renewed, fences+len(w.waits)
			for _, c := range w.calls {
				switch {
				case !c.answered || c.what != "use":
				case !c.positive:
					denied++
				default:
					uses++
					if c.leased {
						leased++
					}
				}
			}
			contradiction, linear := w.contradiction(), w.linear(judgedSoon)
			explained := w.explained()
			if linear == porcupine.Unknown {
				hard++
			}
			switch {
			case explained && linear == porcupine.Illegal:
				t.Errorf("%s, seed %d: the order of the log explains answers that no order does", what, seed)
			case explained:
				linear = porcupine.Ok
			case linear == porcupine.Unknown && what == none: // with a flaw it is enough that some are found
				linear = w.linear(judgedLate)
			}
			if linear == porcupine.Unknown && what == none {
				t.Errorf("seed %d: nobody knows whether the calls have an order", seed)
			}
			if contradiction != "" {
				old++
			}
			if linear == porcupine.Illegal {
				unordered++
			}
			if w.slow != "" && what == none {
				t.Errorf("seed %d: %s", seed, w.slow)
			}
			if (contradiction != "" || linear == porcupine.Illegal) && first == "" {
				first = contradiction
				if what == none {
					t.Errorf("seed %d: %s (linearizable: %v)", seed, contradiction, linear)
				} else {
					t.Logf("%s: first found with seed %d: %s (linearizable: %v)", what, seed, contradiction, linear)
				}
			}
		}
		t.Logf("%s: up to %d schedules from seed %d, %d uses of which %d under leases, %d denied; %d leases, %d elections, %d fences; %d contradictions, %d without an order (%d hard to judge)",
			what, seeds, start, uses, leased, denied, granted, elections, fences, old, unordered, hard)
		if what == none {
			if leased < 5*schedules || denied < 5*schedules || fences < 2*schedules || elections < 2*schedules {
				t.Error("too little happened to prove anything")
			}
		} else if old == 0 || what == unreleased && unordered == 0 {
			t.Errorf("%s: nobody noticed", what)
		}
	}
	f(none, rand.Uint64N(1<<32), schedules)
	for _, what := range []flaw{unreleased, indexBefore, fromReceipt, latestMembers, forgetful, noMargin, blindClock, removedAtOnce, outlivesTerm, stateBeforeLease, earlyIndex, unproved} {
		f(what, 0, 3000)
	}
}
