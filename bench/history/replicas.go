package history

import "fmt"

// diverged is P7: one state at one index, whoever holds it.
func diverged(h *History) []*Violation {
	var found []*Violation
	first := make(map[uint64]*Status)
	for i := range h.Statuses {
		s := &h.Statuses[i]
		if s.StateHash == "" {
			continue
		}
		f, seen := first[s.Applied]
		switch {
		case !seen:
			first[s.Applied] = s
		case f.StateHash != s.StateHash:
			found = append(found, &Violation{
				Promise: ErrDiverged,
				What:    fmt.Sprintf("at index %d %s (pid %d) holds %s, %s (pid %d) %s", s.Applied, f.Node, f.PID, f.StateHash, s.Node, s.PID, s.StateHash),
			})
		}
	}
	return found
}

// Compared is how many indexes there are at which the state hashes of at least
// two nodes were seen: a history without any has not tested P7.
func (h *History) Compared() int {
	by := make(map[uint64]string)
	compared := make(map[uint64]bool)
	for _, s := range h.Statuses {
		node, seen := by[s.Applied]
		switch {
		case s.StateHash == "":
		case !seen:
			by[s.Applied] = s.Node
		case node != s.Node:
			compared[s.Applied] = true
		}
	}
	return len(compared)
}

// wentBack is P8: a node's term never goes back; its commit and applied indexes
// do not while its process lives (a new process reads its log again). A node is
// asked again only after it has answered.
func wentBack(h *History) []*Violation {
	var found []*Violation
	last := make(map[string]*Status)
	for i := range h.Statuses {
		s := &h.Statuses[i]
		before := last[s.Node]
		last[s.Node] = s
		if before == nil {
			continue
		}
		compare := func(what string, was, is uint64) {
			if is < was {
				found = append(found, &Violation{
					Promise: ErrWentBack,
					What:    fmt.Sprintf("%s of %s was %d at %s (pid %d) and %d at %s (pid %d)", what, s.Node, was, before.End, before.PID, is, s.End, s.PID),
				})
			}
		}
		if before.Fresh == s.Fresh {
			compare("the term", before.Term, s.Term)
		}
		if before.PID == s.PID {
			compare("the commit index", before.Commit, s.Commit)
			compare("the applied index", before.Applied, s.Applied)
		}
	}
	return found
}

// twoLeaders is the other half of P8. A node is asked for its term and for who
// leads, not for both at once; but where two answers in a row have the same
// term, the leader of the second one led in it.
func twoLeaders(h *History) []*Violation {
	var found []*Violation
	last, first := make(map[string]*Status), make(map[uint64]*Status)
	for i := range h.Statuses {
		s := &h.Statuses[i]
		before := last[s.Node]
		last[s.Node] = s
		if s.Leader == "" || before == nil || before.PID != s.PID || before.Term != s.Term || before.Leader != s.Leader {
			continue
		}
		if f := first[s.Term]; f == nil {
			first[s.Term] = s
		} else if f.Leader != s.Leader {
			found = append(found, &Violation{
				Promise: ErrTwoLeaders,
				What:    fmt.Sprintf("in term %d %s leads as %s says, and %s as %s says", s.Term, f.Leader, f.Node, s.Leader, s.Node),
			})
		}
	}
	return found
}
