package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Trace is a trace of a call, as a node's log has it at the end.
type Trace struct {
	Node     string        `json:"node"`
	Request  string        `json:"request"` // id of the request
	Name     string        `json:"name"`    // of the operation
	Code     string        `json:"code"`    // HTTP status of the answer
	Recorded time.Duration `json:"recorded"`
}

// Leak is a place at which a secret was found.
type Leak struct {
	Node   string `json:"node"`
	Where  string `json:"where"`  // a file, or what the node was asked
	Secret string `json:"secret"` // what kind of, and in what form; never the secret itself
}

// traceNames are the names of the operations in traces.
var traceNames = map[Op]string{
	Create: "createKey", Describe: "describeKey", Enable: "enableKey", Disable: "disableKey",
	Grant: "createGrant", Revoke: "revokeGrant",
	Rotate: "rotateOnDemand", MakeKey: "createDataKey", OpenKey: "decryptDatakey", Encrypt: "encryptData", Decrypt: "decryptData",
}

// traceSlack is by how much the clocks of traces and of the recorder may
// differ: both are the machine's, but traces count whole milliseconds.
const traceSlack = 2 * time.Millisecond

// notTraced: whatever was answered has one trace, of that operation and that
// outcome, on the node that was asked, and none elsewhere; it is from the time
// of the call. That it was on disk before the answer shows since nodes are
// killed, and traces are read at the end. A history without traces was not
// looked at for them.
func notTraced(h *History) (found []*Violation) {
	if len(h.Traces) == 0 {
		return nil
	}
	traces := make(map[string][]*Trace)
	for i := range h.Traces {
		t := &h.Traces[i]
		traces[t.Request] = append(traces[t.Request], t)
	}
	for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
		if c.Request == "" {
			continue // no answer came, or our client has asked, which tells of refusals only
		}
		what := h.untraced(answer{c.Node, c.Request, c.Outcome, c.Error, c.Begin, c.End}, traces[c.Request])
		if what == "" && len(traces[c.Request]) > 0 && traces[c.Request][0].Name != traceNames[c.Op] {
			what = fmt.Sprintf("request %s is traced as %s", c.Request, traces[c.Request][0].Name)
		}
		if what != "" {
			found = append(found, &Violation{Promise: ErrNotTraced, Name: c.Name, What: what, Calls: []*Call{c}})
		}
	}
	for i := range h.Entries {
		e := &h.Entries[i]
		if e.Request == "" {
			continue
		}
		if what := h.untraced(answer{e.Node, e.Request, e.Outcome, e.Error, e.Begin, e.End}, traces[e.Request]); what != "" {
			found = append(found, &Violation{Promise: ErrNotTraced, What: what + "\n\t" + e.String()})
		}
	}
	return found
}

// Traced is how many answers there are whose traces are looked for.
func (h *History) Traced() (count int) {
	for _, c := range slices.Concat(pointers(h.Calls), pointers(h.Granted)) {
		if c.Request != "" {
			count++
		}
	}
	for i := range h.Entries {
		if h.Entries[i].Request != "" {
			count++
		}
	}
	return count
}

func pointers(calls []Call) []*Call {
	all := make([]*Call, len(calls))
	for i := range calls {
		all[i] = &calls[i]
	}
	return all
}

// answer is what an answer tells that its trace must have, too.
type answer struct {
	node, request string // the node is empty where our client chose it
	outcome       Outcome
	words         string
	begin, end    time.Duration
}

// noTrace are in the words of an answer that is given for want of a trace: the
// node's disk fails or is full, or not so much of the request has arrived as to
// say what was asked, and by whom.
var noTrace = []string{"its trace could not be written", "the disk for traces of this node is full", "The request did not arrive in time"}

// wantsTrace says whether an answer was given for want of a trace.
func (a *answer) wantsTrace() bool {
	return a.outcome != OK && slices.ContainsFunc(noTrace, func(words string) bool { return strings.Contains(a.words, words) })
}

// untraced says what is wrong with the traces of an answered call; empty:
// nothing. An answer that says that there is no trace has none, or one that may
// not be durable and tells of what was not answered.
func (h *History) untraced(a answer, traces []*Trace) string {
	if a.wantsTrace() {
		if len(traces) > 1 {
			return fmt.Sprintf("request %s has %d traces, and was answered for want of one", a.request, len(traces))
		}
		return ""
	}
	if len(traces) != 1 {
		return fmt.Sprintf("request %s has %d traces", a.request, len(traces))
	}
	t := traces[0]
	switch {
	case a.node != "" && t.Node != a.node:
		return fmt.Sprintf("%s answered request %s, and %s traced it", a.node, a.request, t.Node)
	case strings.HasPrefix(t.Code, "2") != (a.outcome == OK):
		return fmt.Sprintf("request %s is traced with status %s", a.request, t.Code)
	case (t.Recorded > a.end+traceSlack || t.Recorded < a.begin-traceSlack) && !h.clockOff(t.Node, a.begin, a.end):
		return fmt.Sprintf("request %s was traced at %s", a.request, t.Recorded)
	}
	return ""
}

// leaked: what was found is a violation as it is.
func leaked(h *History) (found []*Violation) {
	for _, l := range h.Leaks {
		found = append(found, &Violation{Promise: ErrLeaked, What: fmt.Sprintf("%s: %s in %s", l.Node, l.Secret, l.Where)})
	}
	return found
}
