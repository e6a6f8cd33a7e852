package history

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Calls about leave to use a key are kept apart, in [History.Granted]: their
// Name is a key that one grantee uses by grants alone, Tag is the grant's id.

// The operations of the key's owner. What the grantee does is a use.
const (
	Grant  Op = "create-grant"
	Revoke Op = "revoke-grant"
)

// Codes with which the service refuses because of the grants that there are:
// CodeNotFound and CodeForbidden a use, CodeNoGrant a revocation.
const (
	CodeForbidden = "KMS.0306"
	CodeNoGrant   = "KMS.2502"
)

// leave is the model's state of one name: the ids of the grants that there are,
// in order, each with a comma behind it.
type leave struct{ grants string }

func (l leave) has(id string) bool { return id != "" && strings.Contains(","+l.grants, ","+id+",") }

func (l leave) with(id string) leave {
	ids := append(strings.Split(l.grants, ","), id)
	slices.Sort(ids)
	return leave{strings.TrimPrefix(strings.Join(ids, ",")+",", ",")}
}

func (l leave) without(id string) leave {
	ids := slices.DeleteFunc(strings.Split(l.grants, ","), func(have string) bool { return have == id })
	return leave{strings.Join(ids, ",")}
}

// leaves is what grants promise: a use succeeds while there is a grant, and is
// refused while there is none.
var leaves = porcupine.Model{
	Init: func() any { return leave{} },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := grantStep(state.(leave), input.(*Call))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string { return input.(*Call).String() },
	DescribeState:     func(state any) string { return "grants " + state.(leave).grants },
}

// grantStep is step for leave.
func grantStep(l leave, c *Call) (bool, leave) {
	switch {
	case c.Op == Grant && c.Outcome == Unknown: // its id is not known, so nobody takes it back
		return true, l.with(fmt.Sprintf("of %d at %d", c.Worker, c.Begin))
	case c.Op == Grant:
		return c.Outcome == OK && !l.has(c.Tag), l.with(c.Tag)
	case c.Op == Revoke && c.Outcome == Unknown:
		return true, l.without(c.Tag)
	case c.Op == Revoke && c.Outcome == OK:
		return l.has(c.Tag), l.without(c.Tag)
	case c.Op == Revoke:
		return c.Code == CodeNoGrant && !l.has(c.Tag), l
	case c.Outcome == OK:
		return l.grants != "", l
	default:
		return (c.Code == CodeNotFound || c.Code == CodeForbidden) && l.grants == "", l
	}
}

// granted splits the calls about grants into those of each name, and returns
// the names sorted.
func (h *History) granted() (names []string, calls map[string][]*Call) {
	return (&History{Calls: h.Granted}).byName()
}

// grantOperations are one name's calls as porcupine takes them. Calls that
// nothing follows from are left out.
func grantOperations(calls []*Call) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, c := range calls {
		end := int64(c.End)
		switch {
		case c.Outcome == NotDone || c.Outcome == Unknown && c.Op.Uses() || explainedByGrant(calls, c):
			continue
		case c.Outcome == Unknown:
			end = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: max(c.Worker, 0), Input: c, Call: int64(c.since()), Return: end})
	}
	return ops
}

// grantsNotLinearizable is P2 for grants.
func grantsNotLinearizable(h *History) []*Violation {
	var found []*Violation
	names, calls := h.granted()
	for _, name := range names {
		switch porcupine.CheckOperationsTimeout(leaves, grantOperations(calls[name]), judgeTime) {
		case porcupine.Illegal:
			found = append(found, &Violation{
				Promise: ErrNotLinearizable, Name: name, What: fmt.Sprintf("no order of the grants, revocations and uses of %s explains their answers", name),
			})
		case porcupine.Unknown:
			found = append(found, &Violation{Promise: ErrUndecided, Name: name, What: fmt.Sprintf("%d calls about grants on %s, %s", len(calls[name]), name, judgeTime)})
		}
	}
	return found
}

// usedAfterRevocation is P5 for grants, by nothing but real time: no use
// succeeds for which there may be no grant any more, or not yet.
func usedAfterRevocation(h *History) []*Violation {
	var found []*Violation
	names, calls := h.granted()
	for _, name := range names {
		for _, use := range calls[name] {
			if !use.Op.Uses() || use.Outcome != OK {
				continue
			}
			if revoked, explained := leaveFor(calls[name], use); !explained {
				v := &Violation{Promise: ErrUsedAfterRevocation, Name: name, Calls: []*Call{use}, What: "there was no grant"}
				if revoked != nil {
					v.Calls = []*Call{revoked, use}
					v.What = fmt.Sprintf("it began %s after the acknowledgement", use.Begin-revoked.End)
				}
				found = append(found, v)
			}
		}
	}
	return found
}

// leaveFor says whether there may have been a grant at some time of a use, and
// if not, which revocation came last.
func leaveFor(calls []*Call, use *Call) (last *Call, explained bool) {
	for _, grant := range calls {
		if grant.Op != Grant || grant.Outcome != OK && grant.Outcome != Unknown || grant.Begin > use.End {
			continue
		}
		at := slices.IndexFunc(calls, func(c *Call) bool {
			return c.Op == Revoke && c.Outcome == OK && c.Tag == grant.Tag && grant.Tag != "" && c.End < use.since()
		})
		if at < 0 {
			return nil, true
		}
		if last == nil || calls[at].End > last.End {
			last = calls[at]
		}
	}
	return last, false
}
