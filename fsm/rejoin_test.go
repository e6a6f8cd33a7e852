package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// A node that was taken out and comes back under its name has other files: what
// it had erased is no longer erased, until it says so again.
func TestANodeThatComesBackHasErasedNothing(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	admit := func(token string) {
		t.Helper()
		m.Must(command.CreateJoinToken{ID: fsmtest.TokenID(token), Expires: m.Now + 3_600_000})
		m.Must(fsmtest.AdmitNode(token, "n2"))
	}
	erased := func() bool {
		_, known := m.State().Erasure("n2")
		return known
	}
	admit("a")
	report := m.Command(command.ReportErasure{NodeID: "n2", Through: 1})
	report.Caller.NodeID = "n2"
	if refusal := m.Apply(report)[0].Refusal; refusal != nil {
		t.Fatal(refusal)
	}
	m.Must(fsmtest.AdmitNode("a", "n2")) // it asks again, with the same files
	if !erased() {
		t.Error("what it has erased is forgotten while it is there")
	}
	m.Must(command.RemoveNode{NodeID: "n2"})
	if !erased() {
		t.Error("what it had erased is forgotten as it goes")
	}
	admit("b")
	if erased() {
		t.Error("what is in its new files counts as erased")
	}
}
