package client_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// await waits until something is so; only a machine that stands still makes it fail.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func createOne(t *testing.T, c *client.Client) {
	t.Helper()
	if _, err := c.CreateDataKey(t.Context(), "k", client.DataKeyOptions{}); err != nil {
		t.Error(err)
	}
}

func TestCallsOneByOneGoToEachNodeInTurn(t *testing.T) {
	nodes := []*fake{newFake(t, reply(dataKey)), newFake(t, reply(dataKey)), newFake(t, reply(dataKey))}
	c := open(t, configure(nodes...))
	for range 30 {
		createOne(t, c)
	}
	for i, node := range nodes {
		if n := len(node.seen()); n != 10 {
			t.Errorf("node %d got %d of 30 calls", i, n)
		}
	}
}

// Calls that a node is slow to answer keep others away from it.
func TestTheNodeWithTheFewestCallsUnderWayIsAsked(t *testing.T) {
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	slow := newFake(t, func(w http.ResponseWriter, _, _ string) { <-hold; reply(dataKey)(w, "", "") })
	quick := newFake(t, reply(dataKey))
	cfg := configure(slow, quick)
	// Only the end of the test ends the call that is held.
	cfg.AttemptTimeout, cfg.Patience = time.Hour, time.Hour
	c := open(t, cfg)
	var all sync.WaitGroup
	var done atomic.Int64
	for range 2 {
		all.Go(func() { createOne(t, c); done.Add(1) })
	}
	// A call that was answered is under way until its caller knows.
	await(t, "one call that is under way and one that is done", func() bool { return len(slow.seen()) == 1 && done.Load() == 1 })
	for range 20 {
		createOne(t, c)
	}
	if len(slow.seen()) != 1 || len(quick.seen()) != 21 {
		t.Errorf("the slow node got %d calls, the other %d", len(slow.seen()), len(quick.seen()))
	}
	release()
	all.Wait()
}

// A node that could not serve gets calls again when it says that it is ready,
// which no caller's request has to find out.
func TestANodeComesBackWhenItIsReady(t *testing.T) {
	sick, well := newFake(t, unavailable), newFake(t, reply(dataKey))
	sick.unready = true
	c := open(t, configure(sick, well))
	probes := func() int { sick.mu.Lock(); defer sick.mu.Unlock(); return sick.probes }
	await(t, "two probes", func() bool { createOne(t, c); return probes() >= 2 })
	if n := len(sick.seen()); n != 1 {
		t.Errorf("the sick node was asked %d times", n)
	}
	sick.mu.Lock()
	sick.unready, sick.answer = false, reply(dataKey)
	sick.mu.Unlock()
	await(t, "calls to the node that came back", func() bool { createOne(t, c); return len(sick.seen()) >= 5 })
}

// When no node serves all of them are asked, so that the first that does again is found.
func TestWithoutAHealthyNodeAllAreAsked(t *testing.T) {
	a, b := newFake(t, unavailable), newFake(t, unavailable)
	cfg := configure(a, b)
	cfg.Patience = time.Minute
	c := open(t, cfg)
	done := make(chan struct{})
	go func() { defer close(done); createOne(t, c) }()
	await(t, "both to be asked", func() bool { return len(a.seen()) > 1 && len(b.seen()) > 1 })
	b.mu.Lock()
	b.answer = reply(dataKey)
	b.mu.Unlock()
	<-done
}

// A slow decryption is asked of a second node, and the node that loses is not
// taken for one that fails; what is no decryption is never asked twice.
func TestHedgedDecryptions(t *testing.T) {
	const opened = `{"data_key":"01","datakey_length":"1","datakey_dgst":"4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"}`
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	defer release()
	slow := newFake(t, func(w http.ResponseWriter, _, _ string) { <-hold; reply(dataKey)(w, "", "") })
	quick := newFake(t, reply(opened))
	cfg := configure(slow, quick)
	cfg.AttemptTimeout, cfg.Patience, cfg.HedgeAfter = time.Minute, time.Minute, 100*time.Millisecond
	c := open(t, cfg)
	for range 8 {
		plaintext, err := c.DecryptDataKey(t.Context(), "k", []byte{1}, client.DataKeyOptions{Bytes: 1})
		if err != nil || len(plaintext) != 1 || plaintext[0] != 1 {
			t.Errorf("decrypted %x, %v", plaintext, err)
		}
	}
	if len(slow.seen()) == 0 {
		t.Error("the slow node was never asked")
	}
	quick.mu.Lock()
	quick.answer = reply(dataKey)
	quick.mu.Unlock()
	creates := func() (n int) {
		for _, request := range append(slices.Clone(slow.seen()), quick.seen()...) {
			if strings.HasPrefix(request, "create-datakey ") {
				n++
			}
		}
		return n
	}
	var all sync.WaitGroup
	all.Go(func() { createOne(t, c) })
	all.Go(func() { createOne(t, c) })
	await(t, "a data key at each node", func() bool { return creates() == 2 })
	time.Sleep(2 * cfg.HedgeAfter)
	if n := creates(); n != 2 {
		t.Errorf("two data keys were asked for %d times", n)
	}
	release()
	all.Wait()
}

// Both refuse, or cannot: the call ends as it would have without a hedge.
func TestHedgedFailures(t *testing.T) {
	late := func(answer func(http.ResponseWriter, string, string)) func(http.ResponseWriter, string, string) {
		return func(w http.ResponseWriter, verb, body string) {
			time.Sleep(50 * time.Millisecond)
			answer(w, verb, body)
		}
	}
	refused := func(w http.ResponseWriter, _, _ string) { refuse(w, http.StatusBadRequest, "KMS.0209", "disabled") }
	cfg := configure(newFake(t, late(refused)), newFake(t, late(refused)))
	cfg.HedgeAfter = time.Millisecond
	if _, err := open(t, cfg).DecryptDataKey(t.Context(), "k", []byte{1}, client.DataKeyOptions{}); !errors.Is(err, client.ErrKeyDisabled) {
		t.Errorf("both refuse: %v", err)
	}
	cfg = configure(newFake(t, late(unavailable)), newFake(t, late(unavailable)))
	cfg.HedgeAfter, cfg.Patience = time.Millisecond, 500*time.Millisecond
	if _, err := open(t, cfg).DecryptDataKey(t.Context(), "k", []byte{1}, client.DataKeyOptions{}); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("neither can: %v", err)
	}
}
