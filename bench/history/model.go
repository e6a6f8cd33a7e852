package history

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// key is the model's state of one name.
type key struct {
	state State
	tag   string // of the create-key that made it
	id    string // empty while no answer has told it
}

// is says whether an answer about the key names its id, which it learns from
// the first answer that does.
func (k key) is(id string) (bool, key) {
	switch {
	case id == "" || id == k.id:
		return true, k
	case k.id == "":
		k.id = id
		return true, k
	default:
		return false, k
	}
}

// model is what one name promises: at any moment it has one state, every
// answer is that state's, and every call takes effect at one moment between
// its begin and its end; a use that says how old a state it was answered from, as
// much earlier. A write with an unknown outcome has no end, so it may
// also come after everything that was seen.
var model = porcupine.Model{
	Init: func() any { return key{} },
	Step: func(state, input, _ any) (bool, any) {
		ok, next := step(state.(key), input.(*Call))
		return ok, next
	},
	DescribeOperation: func(input, _ any) string { return input.(*Call).String() },
	DescribeState: func(state any) string {
		if k := state.(key); k.state != Absent {
			return fmt.Sprintf("%s (tag %s, id %s)", k.state, k.tag, k.id)
		}
		return "absent"
	},
}

// step says whether a state explains a call's answer, and what comes after.
func step(k key, c *Call) (bool, key) {
	switch c.Outcome {
	case Unknown:
		return true, effect(k, c)
	case Refused:
		return refuses(k.state, c), k
	}
	switch {
	case c.Op == Create:
		return k.state == Absent, key{state: Enabled, tag: c.Tag, id: c.KeyID}
	case c.Op == Describe:
		same, next := k.is(c.KeyID)
		return same && k.state != Absent && k.state == c.State && k.tag == c.Tag, next
	case c.Op == Enable || c.Op == Disable:
		return takes(k.state, c.Op), effect(k, c)
	default: // a use or a rotation
		same, next := k.is(c.KeyID)
		return same && k.state == Enabled, next
	}
}

// takes says whether a key in that state lets a write take effect.
func takes(s State, op Op) bool {
	switch op {
	case Create:
		return s == Absent
	case Enable:
		return s == Disabled
	default:
		return s == Enabled
	}
}

// effect is what a write does, if anything.
func effect(k key, c *Call) key {
	switch {
	case !takes(k.state, c.Op):
		return k
	case c.Op == Create:
		return key{state: Enabled, tag: c.Tag}
	default:
		k.state = c.leaves()
		return k
	}
}

// refuses says whether a state explains a refusal.
func refuses(s State, c *Call) bool {
	told, known := toldBy(c)
	if c.Code == CodeNameTaken && c.Op == Create {
		return s != Absent
	}
	return known && told == s
}

// toldBy is the state that an answer tells, if it tells one.
func toldBy(c *Call) (State, bool) {
	switch {
	case c.Outcome == OK && c.Op == Describe:
		return c.State, true
	case c.Outcome == OK && c.Op.needsEnabled():
		return Enabled, true
	case c.Outcome != Refused:
		return Absent, false
	case c.Code == CodeNotFound && c.Op != Create:
		return Absent, true
	case c.Code == CodeKeyDisabled && c.Op.needsEnabled(), c.Code == CodeNotEnabled && c.Op == Disable:
		return Disabled, true
	case c.Code == CodeNotDisabled && c.Op == Enable:
		return Enabled, true
	}
	return Absent, false
}

// judgeTime bounds the search for an order of one name's calls.
const judgeTime = 30 * time.Second

// operations is one name's calls as porcupine takes them. Calls that nothing
// follows from are left out: those that did nothing, reads that got no answer, and
// uses that are explained in any order of the others.
func operations(calls []*Call) []porcupine.Operation {
	var ops []porcupine.Operation
	for _, c := range calls {
		if c.Outcome == NotDone || c.Outcome == Unknown && !c.Op.Writes() || explained(calls, c) {
			continue
		}
		end := int64(c.End)
		if c.Outcome == Unknown {
			end = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: max(c.Worker, 0), Input: c, Call: int64(c.since()), Return: end})
	}
	return ops
}

// judge searches an order of one name's calls.
func judge(calls []*Call) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, operations(calls), judgeTime)
}

// listed turns the listings into a describe-key of every name on every node.
func (h *History) listed(name string) []*Call {
	var calls []*Call
	for _, l := range h.Listings {
		c := &Call{Node: l.Node, Op: Describe, Name: name, Begin: l.Begin, End: l.End, Outcome: Refused, Code: CodeNotFound, Final: true}
		for _, seen := range l.Keys {
			if seen.Name == name {
				c.Outcome, c.Code = OK, ""
				c.KeyID, c.Tag, c.State = seen.KeyID, seen.Tag, seen.State
			}
		}
		calls = append(calls, c)
	}
	return calls
}

// Visualize writes a page of HTML that shows how far the calls of one name can
// be put in order.
func Visualize(h *History, name string, w io.Writer) error {
	_, calls := h.byName()
	_, info := porcupine.CheckOperationsVerbose(model, operations(slices.Concat(calls[name], h.listed(name))), judgeTime)
	if err := porcupine.Visualize(model, info, w); err != nil {
		return fmt.Errorf("drawing the history of %s: %w", name, err)
	}
	return nil
}
