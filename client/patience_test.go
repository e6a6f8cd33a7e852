package client_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// busy is a node that answers busy some times, with a Retry-After, and then
// serves. It notes when it was asked.
type busy struct {
	retryAfter string

	mu    sync.Mutex
	left  int
	asked []time.Time
}

func (b *busy) answer(w http.ResponseWriter, _, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, time.Now())
	if b.left--; b.left < 0 {
		reply(dataKey)(w, "", "")
		return
	}
	w.Header().Set("Retry-After", b.retryAfter)
	refuse(w, http.StatusServiceUnavailable, "KMS.0104", "busy")
}

func (b *busy) times() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// A node that asks for patience is left alone for that long, and the other one
// is asked meanwhile.
func TestABusyNodeIsLeftAlone(t *testing.T) {
	t.Parallel() // it waits
	sick, well := &busy{retryAfter: "2", left: 1}, newFake(t, reply(dataKey))
	c := open(t, configure(newFake(t, sick.answer), well))
	// Far more calls than its turns: each second one, as long as it serves.
	await(t, "the busy node to be asked again", func() bool { createOne(t, c); return len(sick.times()) == 2 })
	asked := sick.times()
	if passed := asked[1].Sub(asked[0]); passed < 2*time.Second {
		t.Errorf("it was asked again after %s, and had asked for 2 s", passed)
	}
	if len(well.seen()) == 0 {
		t.Error("the other node was not asked meanwhile")
	}
}

// Who has nobody else to ask waits for as long as the node has said.
func TestABusyNodeAloneIsWaitedFor(t *testing.T) {
	t.Parallel() // it waits
	f := func(retryAfter func() string, least time.Duration) {
		t.Helper()
		node := &busy{retryAfter: retryAfter(), left: 1}
		createOne(t, open(t, configure(newFake(t, node.answer))))
		asked := node.times()
		if len(asked) != 2 || asked[1].Sub(asked[0]) < least {
			t.Errorf("%s: asked at %v, want twice and %s in between", node.retryAfter, asked, least)
		}
	}
	f(func() string { return "2" }, 2*time.Second)
	// A date has no fractions of a second, nor has the Date of the answer.
	f(func() string { return time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat) }, time.Second)
	f(func() string { return "soon" }, 0)
	f(func() string { return "-5" }, 0)
	f(func() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }, 0)
}

// Of two that ask for patience the one is asked that may be first.
func TestTheSoonestOfBusyNodesIsAsked(t *testing.T) {
	t.Parallel() // it waits
	later, sooner := &busy{retryAfter: "60", left: 100}, &busy{retryAfter: "1", left: 1}
	createOne(t, open(t, configure(newFake(t, later.answer), newFake(t, sooner.answer))))
	if len(later.times()) != 1 || len(sooner.times()) != 2 {
		t.Errorf("asked %d and %d times, want once, and twice", len(later.times()), len(sooner.times()))
	}
}

// A call that ends before a node may be asked ends at once, with what the node
// has said, and the next one asks nobody.
func TestPatienceBeyondTheDeadline(t *testing.T) {
	node := &busy{retryAfter: "86400", left: 1}
	c := open(t, configure(newFake(t, node.answer)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.CreateDataKey(ctx, "k", client.DataKeyOptions{})
	refused, ok := errors.AsType[*client.Error](err)
	if !errors.Is(err, client.ErrUnavailable) || !ok || refused.Message != "busy" {
		t.Errorf("the first call: %v", err)
	}
	_, err = c.CreateDataKey(ctx, "k", client.DataKeyOptions{})
	if !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("the second call: %v", err)
	}
	if ctx.Err() != nil || len(node.times()) != 1 {
		t.Errorf("%v, asked %d times", ctx.Err(), len(node.times()))
	}
}
