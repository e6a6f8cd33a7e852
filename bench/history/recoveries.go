package history

import (
	"fmt"
	"slices"
	"time"
)

// How soon after a healing the first write is acknowledged, at the latest. That
// bounds a hang, not a performance: all nodes and their callers share a machine of
// two processors. A caller may wait 25 s for an answer to what it asked during the
// fault, and for its next call a node may try for 20 s. What forty campaigns have
// measured is 0.04 to 2.2 s in the median, and 11 s once, after a node had been
// alone for up to 50 s. There are too few healings in a campaign for its 99th
// percentile to be another than the longest; that most are slow, the median tells.
const (
	writesWithin  = 45 * time.Second
	writesUsually = 10 * time.Second // the median, of usuallyOf at least
	usuallyOf     = 10
)

// recovery is what followed the healing of a fault, until the next fault began or
// the load ended.
type recovery struct {
	fault *Fault
	after time.Duration // until a write was acknowledged, or in vain
	wrote bool
}

// recoveries are those in which writes were asked for. Where the next fault began
// before a write was acknowledged, or there was no other, the time until then was
// in vain.
func (h *History) recoveries() (all []recovery) {
	for i := range h.Faults {
		f := &h.Faults[i]
		until := forever
		for j := range h.Faults {
			if other := &h.Faults[j]; j != i && other.End > f.End {
				until = min(until, max(other.Begin, f.End))
			}
		}
		r, asked := recovery{fault: f}, false
		for j := range h.Calls {
			c := &h.Calls[j]
			if c.Final || !c.Op.Writes() || c.Begin < f.End || c.Begin >= until {
				continue
			}
			ends := min(c.End, until)
			switch wrote := c.Outcome == OK && c.End <= until; {
			case wrote && (!r.wrote || ends-f.End < r.after):
				r.after, r.wrote = ends-f.End, true
			case !wrote && !r.wrote:
				r.after = max(r.after, ends-f.End)
			}
			asked = true
		}
		if asked {
			all = append(all, r)
		}
	}
	return all
}

// Recoveries are the times from a healing to the first write that was acknowledged
// and had begun after it, where that was before the next fault; the shortest first.
func (h *History) Recoveries() (all []time.Duration) {
	for _, r := range h.recoveries() {
		if r.wrote {
			all = append(all, r.after)
		}
	}
	slices.Sort(all)
	return all
}

// writingLate is P11 for writes: none takes too long to return, and few take long.
func writingLate(h *History) (found []*Violation) {
	for _, r := range h.recoveries() {
		if r.after <= writesWithin {
			continue
		}
		what := fmt.Sprintf("after %s, healed at %s, no write was acknowledged for %s", r.fault.Kind, r.fault.End, r.after)
		found = append(found, &Violation{Promise: ErrNotServing, What: what})
	}
	if all := h.Recoveries(); len(all) >= usuallyOf && all[len(all)/2] > writesUsually {
		what := fmt.Sprintf("the first write after each of %d healings took %s in the median", len(all), all[len(all)/2])
		found = append(found, &Violation{Promise: ErrNotServing, What: what})
	}
	return found
}
