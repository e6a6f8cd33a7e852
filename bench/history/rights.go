package history

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrUsedWhileRevoked: a call succeeded by a right that had been taken away, or
// after somebody had been told so.
var ErrUsedWhileRevoked = errors.New("P5: a right was used after its revocation was acknowledged")

// Right is a kind of thing by which somebody may do something, and which is
// taken away.
type Right string

// The kinds of right.
const (
	AccessKey  Right = "access-key" // of a user
	User       Right = "user"       // who is disabled
	Membership Right = "membership" // in a group that may
	Policy     Right = "policy"     // that is attached to a user
	Token      Right = "token"      // of a user
	OwnGrant   Right = "own-grant"  // of a user, who retires it
	Key        Right = "key"        // that is scheduled for deletion
	Material   Right = "material"   // of a key, which was imported
)

// Rights returns every kind.
func Rights() []Right {
	return []Right{AccessKey, User, Membership, Policy, Token, OwnGrant, Key, Material}
}

// Entry is one call that needs a right of somebody's, or that takes it away.
// Each subject has one right, from before its first entry, which is taken away
// once and never given back. So whatever is refused for want of it was refused
// because of the revocation.
type Entry struct {
	Subject string        `json:"subject"`
	Right   Right         `json:"right"`
	Node    string        `json:"node"`
	Revokes bool          `json:"revokes,omitempty"`
	Begin   time.Duration `json:"begin"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Code    string        `json:"code,omitempty"`
	Error   string        `json:"error,omitempty"`
	Request string        `json:"request,omitempty"` // the service's id of it, where its answer came
	Age     time.Duration `json:"age,omitempty"`     // of the state that a use was answered from; see [Call]
}

// String says the entry in a line.
func (e *Entry) String() string {
	what := "uses"
	if e.Revokes {
		what = "takes away"
	}
	old := ""
	if e.Age > 0 {
		old = fmt.Sprintf(" (%s old)", e.Age)
	}
	return strings.TrimRight(fmt.Sprintf("[%s, %s] → %s: %s the %s of %s: %s%s %s %s",
		e.Begin, e.End, e.Node, what, e.Right, e.Subject, e.Outcome, old, e.Code, e.Error), " ")
}

// usedWhileRevoked is P5 for rights, by nothing but real time: no use succeeds that began
// after the revocation was acknowledged on whichever node, nor after a use was
// refused for it.
func usedWhileRevoked(h *History) []*Violation {
	gone := make(map[string]*Entry) // what tells first, by subject
	for i := range h.Entries {
		e := &h.Entries[i]
		// A node whose clock is wrong takes what is valid for expired.
		tells := e.Revokes && e.Outcome == OK || !e.Revokes && e.Outcome == Refused && !h.clockOff(e.Node, e.Begin, e.End)
		if first := gone[e.Subject]; tells && (first == nil || e.End < first.End) {
			gone[e.Subject] = e
		}
	}
	var found []*Violation
	for i := range h.Entries {
		e := &h.Entries[i]
		first := gone[e.Subject]
		if e.Revokes || e.Outcome != OK || first == nil || e.since() <= first.End {
			continue
		}
		found = append(found, &Violation{
			Promise: ErrUsedWhileRevoked, Name: "",
			What: fmt.Sprintf("%s\n\tand, begun %s after that had ended,\n\t%s", first, e.Begin-first.End, e),
		})
	}
	return found
}

// Revoked counts, for a kind of right, the subjects of which it was taken away
// with an acknowledgement, after a use of it had succeeded and before one that
// was refused: those that something follows from.
func (h *History) Revoked(right Right) int {
	type seen struct{ used, revoked, refused bool }
	subjects := make(map[string]*seen)
	for _, e := range h.Entries {
		if e.Right != right {
			continue
		}
		s := subjects[e.Subject]
		if s == nil {
			s = new(seen)
			subjects[e.Subject] = s
		}
		s.used = s.used || !e.Revokes && e.Outcome == OK
		s.revoked = s.revoked || e.Revokes && e.Outcome == OK
		s.refused = s.refused || !e.Revokes && e.Outcome == Refused
	}
	count := 0
	for _, s := range subjects {
		if s.used && s.revoked && s.refused {
			count++
		}
	}
	return count
}

// Entry records an entry that has ended.
func (r *Recorder) Entry(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Entries = append(r.h.Entries, e)
}

func sortEntries(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int { return int(a.Begin - b.Begin) })
}
