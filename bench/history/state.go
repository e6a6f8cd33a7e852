package history

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// notLinearizable is P2.
func notLinearizable(h *History) []*Violation {
	found := grantsNotLinearizable(h)
	names, calls := h.byName()
	for _, name := range names {
		mine := slices.Concat(calls[name], h.listed(name))
		switch judge(mine) {
		case porcupine.Illegal:
			found = append(found, &Violation{
				Promise: ErrNotLinearizable, Name: name, Calls: witnesses(mine, len(found) < maxShrunk),
				What: fmt.Sprintf("no order of the calls under %s explains their answers", name),
			})
		case porcupine.Unknown:
			found = append(found, &Violation{
				Promise: ErrUndecided, Name: name,
				What: fmt.Sprintf("%d calls under %s, %s", len(mine), name, judgeTime),
			})
		}
	}
	return found
}

// lost is P1: every key whose creation was acknowledged is listed on every
// node, in a state that the acknowledged writes explain, and with a version for
// every rotation.
func lost(h *History) []*Violation {
	found := rotationsLost(h)
	names, calls := h.byName()
	for _, name := range names {
		for _, l := range h.listed(name) {
			told, _ := toldBy(l)
			if broken := outlived(calls[name], l); broken != nil {
				found = append(found, &Violation{
					Promise: ErrLost, Name: name, Calls: []*Call{broken, l},
					What: fmt.Sprintf("at the end %s has %s as %q", l.Node, name, told),
				})
			}
		}
	}
	return found
}

// outlived returns an acknowledged write that a later look at the key does not
// show, nor any write that may have come after it; nil: there is none.
func outlived(calls []*Call, look *Call) *Call {
	told, tells := toldBy(look)
	if !tells {
		return nil
	}
	var newest *Call // of the acknowledged ones before the look
	for _, c := range calls {
		switch {
		case !c.mayHaveHappened() || c.Begin > look.End:
		case c.Op == Create && c.Outcome == OK && look.KeyID != "" && c.KeyID != look.KeyID:
			return c
		case c.Outcome == OK && c.End < look.Begin && (newest == nil || c.Begin > newest.Begin):
			newest = c
		}
	}
	if newest == nil {
		return nil
	}
	for _, c := range calls {
		if told != Absent && c.mayHaveHappened() && c.leaves() == told && c.Begin <= look.End && c.happenedBy() >= newest.Begin {
			return nil // it may have come last
		}
	}
	return newest
}

// twice is P3: one version per rotation, one key per name, one key per tag. A
// name is taken once anyway, so that only rotations show a request that was
// carried out again.
func twice(h *History) []*Violation {
	found := rotatedTwice(h)
	firstByName, firstByTag := make(map[string]string), make(map[string]string)
	see := func(id, name, tag, where string) {
		if id == "" {
			return
		}
		for _, by := range []struct {
			first      map[string]string
			what, word string
		}{{firstByName, "name", name}, {firstByTag, "tag", tag}} {
			first, seen := by.first[by.word]
			switch {
			case by.word == "":
			case !seen:
				by.first[by.word] = id
			case first != id:
				found = append(found, &Violation{
					Promise: ErrTwice, Name: name,
					What: fmt.Sprintf("the %s %s is that of key %s and, %s, that of key %s", by.what, by.word, first, where, id),
				})
			}
		}
	}
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Outcome == OK && (c.Op == Create || c.Op == Describe) {
			see(c.KeyID, c.Name, c.Tag, "as "+string(c.Op)+" on "+orAny(c.Node)+" said")
		}
	}
	for _, l := range h.Listings {
		for _, k := range l.Keys {
			see(k.KeyID, k.Name, k.Tag, "as "+l.Node+" lists it")
		}
	}
	return found
}

// doneAfterAll is P4: nobody sees the key of a create-key that was reported as
// not done or refused, nor answers that only such a change explains.
func doneAfterAll(h *History) []*Violation {
	var found []*Violation
	denied := make(map[string]*Call) // creations by tag
	names, calls := h.byName()
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Op == Create && (c.Outcome == NotDone || c.Outcome == Refused) {
			denied[c.Tag] = c
		}
	}
	for _, name := range names {
		looks := slices.Concat(h.listed(name), calls[name])
		for _, look := range looks {
			blamed := denied[look.Tag]
			if look.Op == Describe && look.Outcome == OK && blamed != nil {
				found = append(found, &Violation{
					Promise: ErrDoneAfterAll, Name: name, Calls: []*Call{blamed, look},
					What: "the second call saw the key of the first, which was reported as not done",
				})
			}
		}
		if blamed := deniedChange(looks); blamed != nil {
			found = append(found, &Violation{
				Promise: ErrDoneAfterAll, Name: name, Calls: []*Call{blamed},
				What: "the answers have an order if this change was made, and none if it was not",
			})
		}
	}
	return found
}

// deniedChange returns a change that the service reported as not done and
// without which the answers have no order, although they have one with it. (A
// node that could not even be reached has reported nothing.)
func deniedChange(calls []*Call) *Call {
	if judge(calls) != porcupine.Illegal {
		return nil
	}
	for i, c := range calls {
		if !c.Op.Writes() || c.Outcome != NotDone || c.Code == "" {
			continue
		}
		made := *c
		made.Outcome = Unknown
		if with := slices.Clone(calls); judge(slices.Replace(with, i, i+1, &made)) == porcupine.Ok {
			return c
		}
	}
	return nil
}
