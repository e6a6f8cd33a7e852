package history

import (
	"fmt"
	"slices"
)

// usedWhileDisabled is P5, by nothing but real time: no use of a key succeeds
// that began after its disabling was acknowledged, unless an enabling may have
// come in between. It needs no search, so it also holds where P2 is undecided.
func usedWhileDisabled(h *History) []*Violation {
	var found []*Violation
	names, calls := h.byName()
	for _, name := range names {
		for _, use := range calls[name] {
			if !use.Op.Uses() || use.Outcome != OK {
				continue
			}
			if disable := disabledBefore(calls[name], use); disable != nil {
				found = append(found, &Violation{
					Promise: ErrUsedWhileDisabled, Name: name, Calls: []*Call{disable, use},
					What: fmt.Sprintf("it began %s after the acknowledgement", use.Begin-disable.End),
				})
			}
		}
	}
	return found
}

// disabledBefore returns the disabling that forbids a use, if there is one.
func disabledBefore(calls []*Call, use *Call) *Call {
	var newest *Call
	for _, c := range calls {
		if c.Op == Disable && c.Outcome == OK && c.End < use.since() && (newest == nil || c.Begin > newest.Begin) {
			newest = c
		}
	}
	if newest == nil || slices.ContainsFunc(calls, func(c *Call) bool {
		return c.Op == Enable && c.mayHaveHappened() && c.happenedBy() >= newest.Begin && c.Begin <= use.End
	}) {
		return nil
	}
	return newest
}

// unreadable is P6: no opening gives another plaintext or says that the
// ciphertext is none, and at the end every ciphertext was opened on every node.
func unreadable(h *History) []*Violation {
	var found []*Violation
	opened := make(map[string][]string) // nodes by ciphertext
	report := func(c *Call, what string) {
		found = append(found, &Violation{Promise: ErrUnreadable, Name: c.Name, Calls: []*Call{c}, What: what})
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		switch {
		case !c.Op.Opens():
		case c.Outcome == OK && c.Digest != c.Wanted:
			report(c, "another plaintext came out")
		case c.Outcome == OK && c.Final:
			opened[string(c.Ciphertext)] = append(opened[string(c.Ciphertext)], c.Node)
		case c.Outcome == Refused && (c.Final || c.Code != CodeKeyDisabled):
			report(c, "it was refused")
		}
	}
	if len(h.Listings) == 0 {
		return found // there was no end
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if !c.Op.Seals() || c.Outcome != OK {
			continue
		}
		for _, l := range h.Listings {
			if !slices.Contains(opened[string(c.Ciphertext)], l.Node) {
				report(c, "at the end it was not opened on "+l.Node)
			}
		}
	}
	return found
}
