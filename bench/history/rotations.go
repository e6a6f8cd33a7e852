package history

import "fmt"

// A rotation adds a version to a key and may be asked for any number of times, so
// the number of versions tells how often rotations have taken effect. Keys of a
// history are not rotated by a schedule.

// rotations are the rotations of one key.
type rotations struct {
	asked   []*Call // those that are counted here
	done    int     // acknowledged
	unknown int
	denied  int // reported as not done
}

// rotated counts the rotations under every name.
func (h *History) rotated() map[string]*rotations {
	by := make(map[string]*rotations)
	for i := range h.Calls {
		c := &h.Calls[i]
		if c.Op != Rotate || c.Outcome == Refused {
			continue
		}
		r := by[c.Name]
		if r == nil {
			r = new(rotations)
			by[c.Name] = r
		}
		r.asked = append(r.asked, c)
		switch c.Outcome {
		case OK:
			r.done++
		case Unknown:
			r.unknown++
		default:
			r.denied++
		}
	}
	return by
}

// rotationsLost is P1 for rotations: besides the version with which a key was made
// there is one for every acknowledged rotation.
func rotationsLost(h *History) []*Violation {
	return h.miscounted(ErrLost, func(versions int, r *rotations) bool { return versions < 1+r.done })
}

// rotatedTwice is P3: there is at most one version for every rotation that took
// effect or may have.
func rotatedTwice(h *History) []*Violation {
	return h.miscounted(ErrTwice, func(versions int, r *rotations) bool { return versions > 1+r.done+r.unknown })
}

// miscounted looks at the versions of every key as each node lists them, after
// the last rotation has ended.
func (h *History) miscounted(promise error, wrong func(versions int, r *rotations) bool) (found []*Violation) {
	by := h.rotated()
	for _, l := range h.Listings {
		for _, k := range l.Keys {
			r := by[k.Name]
			if r == nil {
				r = new(rotations)
			}
			if k.Versions == 0 || !wrong(k.Versions, r) {
				continue
			}
			found = append(found, &Violation{
				Promise: promise, Name: k.Name, Calls: r.asked,
				What: fmt.Sprintf("at the end %s lists %d versions of the key %s; %d rotations were acknowledged, of %d nobody knows, and %d were reported as not done",
					l.Node, k.Versions, k.Name, r.done, r.unknown, r.denied),
			})
		}
	}
	return found
}
