package client_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/raftkms/raftkms/client"
)

// late is what a node says whose clock is far from the caller's.
func late(w http.ResponseWriter, _, _ string) {
	refuse(w, http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail, X-Sdk-Date is more than 15 minutes from the server's time")
}

// A node whose clock is off keeps no call from being done: another one is asked.
func TestANodeWithAnotherClockIsPassedOver(t *testing.T) {
	off, well := newFake(t, late), newFake(t, reply(`{"key_info":{"key_id":"k","domain_id":"d"}}`))
	c := open(t, configure(off, well))
	for range 4 {
		if _, err := c.CreateKey(t.Context(), client.NewKey{Name: "n"}); err != nil { // also a write: it was not done
			t.Error(err)
		}
	}
	if len(off.seen()) == 0 || len(well.seen()) != 4 {
		t.Errorf("asked %d and %d times", len(off.seen()), len(well.seen()))
	}
}

// It is the caller's own clock that two nodes differ from: the call ends with
// what the first one said, and so it does where the other says nothing.
func TestTwoNodesWithAnotherClock(t *testing.T) {
	f := func(asked int, answers ...func(http.ResponseWriter, string, string)) {
		t.Helper()
		var nodes []*fake
		for _, answer := range answers {
			nodes = append(nodes, newFake(t, answer))
		}
		_, err := open(t, configure(nodes...)).CreateDataKey(t.Context(), "k", client.DataKeyOptions{})
		refused, ok := errors.AsType[*client.Error](err)
		if !errors.Is(err, client.ErrUnauthenticated) || !ok || refused.Endpoint != nodes[0].URL {
			t.Errorf("of %d nodes: %v", len(nodes), err)
		}
		sum := 0
		for _, node := range nodes {
			sum += len(node.seen())
		}
		if sum != asked {
			t.Errorf("%d nodes were asked %d times, want %d", len(nodes), sum, asked)
		}
	}
	f(1, late)
	f(2, late, late)
	f(2, late, late, late)
	f(2, late, unavailable)
	f(2, late, hangUp)
}

// A write that the second node may have done is not called refused.
func TestAnotherClockAndAnUnknownOutcome(t *testing.T) {
	c := open(t, configure(newFake(t, late), newFake(t, hangUp)))
	if err := c.DisableKey(t.Context(), "k"); !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Error(err)
	}
}
