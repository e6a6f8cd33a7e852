package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a wrong clock of a node must not lead to. ErrTooEarly is broken where
// timed work was done before its time, ErrRefusedForTime where a node refuses a
// call for its date whose clock is right.
var (
	ErrTooEarly       = errors.New("timed work was done before its time")
	ErrRefusedForTime = errors.New("a call was refused for its date by a node whose clock is right")
)

// Delayed is a key that is to be deleted, and not before a time.
type Delayed struct {
	KeyID string        `json:"key_id"`
	Name  string        `json:"name"`
	Due   time.Duration `json:"due"`
}

// PendingDeletion is the state of a key that is to be deleted.
const PendingDeletion State = "PendingDeletion"

// Delay records a key that is to be deleted later.
func (r *Recorder) Delay(d Delayed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Delayed = append(r.h.Delayed, d)
}

// tooEarly: what every node lists before a key's time has the key, still to be
// deleted.
func tooEarly(h *History) (found []*Violation) {
	for _, d := range h.Delayed {
		for _, l := range h.Listings {
			i := slices.IndexFunc(l.Keys, func(k Seen) bool { return k.KeyID == d.KeyID })
			if l.End >= d.Due || i >= 0 && l.Keys[i].State == PendingDeletion {
				continue
			}
			state := Absent
			if i >= 0 {
				state = l.Keys[i].State
			}
			found = append(found, &Violation{
				Promise: ErrTooEarly, Name: d.Name,
				What: fmt.Sprintf("%s, to be deleted at %s, was %q on %s at %s", d.Name, d.Due, state, l.Node, l.End),
			})
		}
	}
	return found
}

// refusedForTime is in the words of an answer that a call's date is too far from
// the node's clock. Nothing was done then, and it says nothing about the state.
const refusedForTime = "from the server's time"

// RefusedForTime tells by the words of an answer whether a call was refused for
// its date.
func RefusedForTime(words string) bool { return strings.Contains(words, refusedForTime) }

// refusedAtTheRightTime: only a node whose clock was shifted meanwhile refuses a
// call for its date.
func refusedAtTheRightTime(h *History) (found []*Violation) {
	for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
		if c.Outcome == NotDone && RefusedForTime(c.Error) && !h.clockOff(c.Node, c.Begin, c.End) {
			found = append(found, &Violation{Promise: ErrRefusedForTime, Name: c.Name, What: "no clock was shifted", Calls: []*Call{c}})
		}
	}
	for i := range h.Entries {
		e := &h.Entries[i]
		if e.Outcome == NotDone && RefusedForTime(e.Error) && !h.clockOff(e.Node, e.Begin, e.End) {
			found = append(found, &Violation{Promise: ErrRefusedForTime, What: e.String()})
		}
	}
	return found
}

// clockOff says whether the clock of a node was shifted at some time between
// two; of any, where the node is not known.
func (h *History) clockOff(node string, begin, end time.Duration) bool {
	for i := range h.Faults {
		f := &h.Faults[i]
		if strings.HasPrefix(f.Kind, "clock-") && f.Begin <= end && f.End >= begin && (node == "" || slices.Contains(f.Nodes, node)) {
			return true
		}
	}
	return false
}
