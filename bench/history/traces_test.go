package history_test

import (
	"errors"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// An answered call has one trace; every way to have another is found.
func TestTraces(t *testing.T) {
	f := func(change func(h *history.History), broken bool) {
		t.Helper()
		h := &history.History{
			Calls: []history.Call{
				{Op: history.MakeKey, Node: "n1", Request: "r1", Begin: time.Second, End: 2 * time.Second, Outcome: history.OK, KeyID: "id", Name: "k"},
				{Op: history.Encrypt, Node: "n2", Request: "r2", Begin: time.Second, End: 2 * time.Second, Outcome: history.Refused, Code: "KMS.0209", Name: "k"},
				{Op: history.Encrypt, Node: "n2", Begin: time.Second, End: 2 * time.Second, Outcome: history.Unknown, Name: "k"},
			},
			Entries: []history.Entry{
				{Subject: "s", Right: history.Token, Node: "n3", Request: "r4", Begin: time.Second, End: 2 * time.Second, Outcome: history.OK},
				{Subject: "s", Right: history.Token, Node: "n3", Begin: time.Second, End: 2 * time.Second, Outcome: history.Unknown},
			},
			Traces: []history.Trace{
				{Node: "n1", Request: "r1", Name: "createDataKey", Code: "200", Recorded: 1500 * time.Millisecond},
				{Node: "n2", Request: "r2", Name: "encryptData", Code: "403", Recorded: 1500 * time.Millisecond},
				{Node: "n2", Request: "r3", Name: "encryptData", Code: "200", Recorded: 1500 * time.Millisecond},
				{Node: "n3", Request: "r4", Name: "deleteToken", Code: "204", Recorded: 1500 * time.Millisecond},
			},
		}
		change(h)
		found := 0
		for _, v := range history.Check(h) {
			if errors.Is(v, history.ErrNotTraced) {
				found++
			}
		}
		if (found == 1) != broken || found > 1 {
			t.Errorf("%d violations, broken: %v", found, broken)
		}
	}
	f(func(*history.History) {}, false)
	f(func(h *history.History) { h.Traces = h.Traces[1:] }, true)
	f(func(h *history.History) { h.Traces = append(h.Traces, h.Traces[0]) }, true)
	f(func(h *history.History) {
		again := h.Traces[0]
		again.Node = "n2"
		h.Traces = append(h.Traces, again)
	}, true)
	f(func(h *history.History) { h.Traces[0].Node = "n2" }, true)
	f(func(h *history.History) { h.Traces[0].Name = "encryptData" }, true)
	f(func(h *history.History) { h.Traces[0].Code = "403" }, true)
	f(func(h *history.History) { h.Traces[1].Code = "200" }, true)
	f(func(h *history.History) { h.Traces[0].Recorded = 2100 * time.Millisecond }, true)
	f(func(h *history.History) { h.Traces[0].Recorded = 900 * time.Millisecond }, true)
	f(func(h *history.History) { h.Traces = h.Traces[:3] }, true)
	f(func(h *history.History) { h.Traces[3].Node = "n1" }, true)
	f(func(h *history.History) { h.Traces[3].Code = "401" }, true)
	f(func(h *history.History) { h.Calls[1].Node = "" }, false) // our client chose it
	without := func(h *history.History) {
		h.Calls[1].Error = "this call is not answered: its trace could not be written"
	}
	f(func(h *history.History) { without(h); h.Traces = append(h.Traces[:1], h.Traces[2:]...) }, false)
	f(func(h *history.History) { without(h); h.Traces[1].Code = "200" }, false)
	f(func(h *history.History) { without(h); h.Traces = append(h.Traces, h.Traces[1]) }, true)
	f(func(h *history.History) {
		h.Calls[1].Error = "this call is not answered: the disk for traces of this node is full; try another node"
		h.Traces = append(h.Traces[:1], h.Traces[2:]...)
	}, false)
	f(func(h *history.History) {
		h.Calls[1].Outcome, h.Calls[1].Error = history.NotDone, "KMS.0214: The request did not arrive in time. (status 408)"
		h.Traces = append(h.Traces[:1], h.Traces[2:]...)
	}, false)
	late := func(h *history.History) {
		h.Calls[1].Outcome, h.Calls[1].Error = history.NotDone, "X-Sdk-Date is more than 15 minutes from the server's time"
		h.Faults = []history.Fault{{Kind: "clock-year", Nodes: []string{"n2"}, End: 3 * time.Second, Served: 3 * time.Second}}
	}
	f(late, false)
	f(func(h *history.History) { late(h); h.Traces = append(h.Traces, h.Traces[1]) }, true)
	f(func(h *history.History) { h.Traces = nil }, false) // nobody looked
}

func TestLeaks(t *testing.T) {
	h := &history.History{Leaks: []history.Leak{{Node: "n1", Where: "kmsd.log", Secret: "a plaintext in base64"}}}
	found := history.Check(h)
	if len(found) != 1 || !errors.Is(found[0], history.ErrLeaked) {
		t.Errorf("%v", found)
	}
	if found := history.Check(&history.History{}); len(found) > 0 {
		t.Errorf("%v", found)
	}
}
