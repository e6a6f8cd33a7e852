package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// returnsWithin is how long after a healing every node serves again at the
// latest. It bounds a hang, not a performance: the machine may be slow and busy.
const returnsWithin = 90 * time.Second

// notServing is P11: after every fault, once it was healed, all nodes served, and
// a write was acknowledged.
func notServing(h *History) []*Violation {
	found := writingLate(h)
	for i := range h.Faults {
		f := &h.Faults[i]
		switch {
		case f.Served == 0:
			found = append(found, &Violation{Promise: ErrNotServing, What: fmt.Sprintf("after %s, healed at %s, not every node ever served", f.Kind, f.End)})
		case f.Served-f.End > returnsWithin:
			found = append(found, &Violation{Promise: ErrNotServing, What: fmt.Sprintf("after %s, healed at %s, every node served only at %s", f.Kind, f.End, f.Served)})
		}
	}
	return found
}

// installedAgain is P13: from the beginning of a fault until every node serves
// again, a node takes one snapshot as its state, and another only where
// leadership has changed meanwhile, or where it was away more than once.
func installedAgain(h *History) []*Violation {
	var found []*Violation
	for i := range h.Faults {
		f := &h.Faults[i]
		taken := make(map[string]int)
		for _, install := range h.Installs {
			if install.At >= f.Begin && install.At <= f.Served {
				taken[install.Node]++
			}
		}
		allowed := max(1, h.termsIn(f.Begin, f.Served))
		for node, count := range taken {
			away := 0
			for _, met := range f.Nodes {
				if met == node {
					away++
				}
			}
			if count > max(allowed, away) {
				found = append(found, &Violation{
					Promise: ErrInstalledAgain, What: fmt.Sprintf("%s took %d snapshots around %s at %s, which met it %d times, with leaders of %d terms", node, count, f.Kind, f.Begin, away, allowed),
				})
			}
		}
	}
	return found
}

// termsIn is how many terms were seen at some time between two.
func (h *History) termsIn(begin, end time.Duration) int {
	var terms []uint64
	for _, s := range h.Statuses {
		if s.End >= begin && s.Begin <= end && !slices.Contains(terms, s.Term) {
			terms = append(terms, s.Term)
		}
	}
	return len(terms)
}

// unanswered is how long a call may be without an answer before it counts as
// hung: as long as a node tries at most to serve a call.
const unanswered = 20 * time.Second

// hung is P12: a node whose HSM is gone, or slow, still answers whoever calls.
func hung(h *History) []*Violation {
	var found []*Violation
	for i := range h.Faults {
		f := &h.Faults[i]
		if !strings.HasPrefix(f.Kind, "hsm-") {
			continue
		}
		for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
			if c.Begin >= f.Begin && c.Begin <= f.End && slices.Contains(f.Nodes, c.Node) && c.Outcome == Unknown && c.Code == "" && c.End-c.Begin > unanswered {
				found = append(found, &Violation{Promise: ErrHung, Name: c.Name, Calls: []*Call{c}, What: fmt.Sprintf("of %s at %s", f.Kind, f.Begin)})
			}
		}
	}
	return found
}
