package history

import (
	"fmt"
	"slices"
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
	MakeKey: "createDataKey", OpenKey: "decryptDatakey", Encrypt: "encryptData", Decrypt: "decryptData",
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
			continue // no answer came, or our client has asked, and does not tell
		}
		if what := untraced(c, traces[c.Request]); what != "" {
			found = append(found, &Violation{Promise: ErrNotTraced, Name: c.Name, What: what, Calls: []*Call{c}})
		}
	}
	return found
}

func pointers(calls []Call) []*Call {
	all := make([]*Call, len(calls))
	for i := range calls {
		all[i] = &calls[i]
	}
	return all
}

// untraced says what is wrong with the traces of an answered call; empty:
// nothing.
func untraced(c *Call, traces []*Trace) string {
	if len(traces) != 1 {
		return fmt.Sprintf("request %s has %d traces", c.Request, len(traces))
	}
	t := traces[0]
	switch {
	case t.Node != c.Node:
		return fmt.Sprintf("%s answered request %s, and %s traced it", c.Node, c.Request, t.Node)
	case t.Name != traceNames[c.Op]:
		return fmt.Sprintf("request %s is traced as %s", c.Request, t.Name)
	case (t.Code == "200") != (c.Outcome == OK):
		return fmt.Sprintf("request %s is traced with status %s", c.Request, t.Code)
	case t.Recorded > c.End+traceSlack || t.Recorded < c.Begin-traceSlack:
		return fmt.Sprintf("request %s was traced at %s", c.Request, t.Recorded)
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
