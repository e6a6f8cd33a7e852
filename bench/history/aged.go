package history

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// In the mode available a node that has no lease may use keys by the state that it
// has, up to a bound old, and its answer says how old that is. Nothing else is
// promised less for it: an answer that says nothing is of the newest state, so are
// everything but uses and every no, and no state is older than was said.

// ErrTooOld: an answer came, by its own word, from an older state than there may be,
// or from an old one where there may be none.
var ErrTooOld = errors.New("P2: an answer came from a state older than the cluster's mode allows")

// ageTick is by how much a state may be older than was said: ages are told in whole
// milliseconds.
const ageTick = time.Millisecond

// since is from when on the state of an answer may be that was given to a call which
// began then: everything acknowledged before is in it.
func since(begin, age time.Duration, uses bool, outcome Outcome) time.Duration {
	if age <= 0 || !uses || outcome != OK {
		return begin
	}
	return begin - age - ageTick
}

func (c *Call) since() time.Duration { return since(c.Begin, c.Age, c.Op.Uses(), c.Outcome) }

func (e *Entry) since() time.Duration { return since(e.Begin, e.Age, !e.Revokes, e.Outcome) }

// explained says whether a use from an old state has a place in any order that there is
// of the other calls: at some time that the state may be of, the key was enabled
// whatever came first of what overlaps. Searching for that place is the costliest of
// all: it may be anywhere in as many seconds.
func explained(calls []*Call, use *Call) bool {
	if use.Age <= 0 || !use.Op.Uses() || use.Outcome != OK {
		return false
	}
	known := slices.ContainsFunc(calls, func(c *Call) bool {
		return c.Op == Create && c.Outcome == OK && (use.KeyID == "" || use.KeyID == c.KeyID)
	})
	return known && slices.ContainsFunc(calls, func(on *Call) bool {
		if on.Outcome != OK || on.Op != Create && on.Op != Enable {
			return false
		}
		at := max(on.End, use.since())
		return at < use.End && !slices.ContainsFunc(calls, func(off *Call) bool {
			return off.Op == Disable && off.mayHaveHappened() && off.Begin <= at && off.happenedBy() >= on.Begin
		})
	})
}

// explainedByGrant is the same for a use by a grant.
func explainedByGrant(calls []*Call, use *Call) bool {
	return use.Age > 0 && use.Op.Uses() && use.Outcome == OK && slices.ContainsFunc(calls, func(grant *Call) bool {
		if grant.Op != Grant || grant.Outcome != OK {
			return false
		}
		at := max(grant.End, use.since())
		return at < use.End && !slices.ContainsFunc(calls, func(c *Call) bool {
			return c.Op == Revoke && c.Tag == grant.Tag && (c.Outcome == OK || c.Outcome == Unknown) && c.Begin <= at
		})
	})
}

// Allow records that from now on a use of a key may be answered from a state that
// is up to so old.
func (r *Recorder) Allow(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.MaxAge = age
}

// tooOld: whatever says that it is old is a use, and not older than may be.
func tooOld(h *History) (found []*Violation) {
	report := func(age time.Duration, what, name string, calls ...*Call) {
		found = append(found, &Violation{
			Promise: ErrTooOld, Name: name, Calls: calls,
			What: fmt.Sprintf("%s from a state of %s; uses of keys may be from one of %s, and nothing else", what, age, h.MaxAge),
		})
	}
	for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
		if c.Age > h.MaxAge || c.Age > 0 && !c.Op.Uses() {
			report(c.Age, string(c.Op), c.Name, c)
		}
	}
	for i := range h.Entries {
		if e := &h.Entries[i]; e.Age > h.MaxAge || e.Age > 0 && e.Revokes {
			report(e.Age, e.String(), "")
		}
	}
	return found
}

// Aged is how many uses a node answered by an old state, and how old the oldest was.
func (h *History) Aged() (count int, oldest time.Duration) {
	see := func(node string, age time.Duration) {
		if node == "" || age == 0 {
			return // of what our client was answered nobody knows
		}
		count, oldest = count+1, max(oldest, age)
	}
	for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
		see(c.Node, c.Age)
	}
	for i := range h.Entries {
		see(h.Entries[i].Node, h.Entries[i].Age)
	}
	return count, oldest
}
