package history

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Bounds of what is done to make a violation readable.
const (
	maxShrunk = 5 // of how many violations
	maxWrites = 8 // that are shown
)

// witnesses are the calls of one name whose answers contradict one another:
// the history up to the first answer that fits no order, without the calls that
// do not matter, and of the writes the newest. Refusals that no state explains
// need no search.
func witnesses(calls []*Call, shrink bool) []*Call {
	for _, c := range calls {
		if _, known := toldBy(c); c.Outcome == Refused && !known && c.Code != CodeNameTaken {
			return []*Call{c}
		}
	}
	if !shrink {
		return nil
	}
	left := untilBroken(calls)
	for i := len(left) - 1; i >= 0; i-- {
		if left[i].mayHaveHappened() {
			continue // to leave out a write could make a contradiction
		}
		if less := slices.Delete(slices.Clone(left), i, i+1); judge(less) == porcupine.Illegal {
			left = less
		}
	}
	slices.SortStableFunc(left, func(a, b *Call) int { return cmp.Compare(a.Begin, b.Begin) })
	writes := 0
	for i := len(left) - 1; i >= 0; i-- {
		if left[i].mayHaveHappened() {
			if writes++; writes > maxWrites {
				left = slices.Delete(left, i, i+1)
			}
		}
	}
	return left
}

// untilBroken is what was known when the first answer came that fits no order.
func untilBroken(calls []*Call) []*Call {
	ends := make([]time.Duration, len(calls))
	for i, c := range calls {
		ends[i] = c.End
	}
	slices.Sort(ends)
	first := sort.Search(len(ends)-1, func(i int) bool { return judge(knownAt(calls, ends[i])) == porcupine.Illegal })
	return knownAt(calls, ends[first])
}

// knownAt are the calls as they were known at a time: those under way had no
// answer yet.
func knownAt(calls []*Call, at time.Duration) []*Call {
	var known []*Call
	for _, c := range calls {
		switch {
		case c.Begin > at:
		case c.End <= at:
			known = append(known, c)
		case c.mayHaveHappened():
			pending := *c
			pending.Outcome = Unknown
			known = append(known, &pending)
		}
	}
	return known
}
