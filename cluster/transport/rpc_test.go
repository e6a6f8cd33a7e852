package transport_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/transport"
)

func pair(t *testing.T) (a, b *peer) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	return open(t, ca.Identity(t, "a"), "127.0.0.1:0", addresses), open(t, ca.Identity(t, "b"), "127.0.0.1:0", addresses)
}

// TestCallBodies: bodies up to the limit arrive whole, both ways.
func TestCallBodies(t *testing.T) {
	a, b := pair(t)
	b.Handle("echo", func(_ context.Context, _ string, body []byte) ([]byte, error) { return body, nil })
	b.Handle("much", func(context.Context, string, []byte) ([]byte, error) { return make([]byte, transport.MaxBody+1), nil })
	for _, size := range []int{0, 1, 1000, transport.MaxBody} {
		reply, err := a.Call(patience(t), "b", "echo", make([]byte, size))
		if err != nil || len(reply) != size {
			t.Fatalf("%d bytes: %d back, %v", size, len(reply), err)
		}
	}
	if _, err := a.Call(patience(t), "b", "echo", make([]byte, transport.MaxBody+1)); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("too large a call: %v", err)
	}
	var remote *transport.RemoteError
	if _, err := a.Call(patience(t), "b", "much", nil); !errors.As(err, &remote) || remote.Code != transport.CodeInternal {
		t.Fatalf("too large a reply: %v", err)
	}
	if _, err := a.Call(patience(t), "b", "none", nil); !errors.As(err, &remote) || remote.Code != transport.CodeUnknownMethod {
		t.Fatalf("an unknown method: %v", err)
	}
	if _, err := a.Call(patience(t), "nobody", "echo", nil); !errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("an unknown node: %v", err)
	}
}

// TestCallEnds: the handler knows the caller's deadline; a call that ends
// without an answer is broken, not undone.
func TestCallEnds(t *testing.T) {
	a, b := pair(t)
	entered, left := make(chan time.Duration, 1), make(chan struct{}, 1)
	b.Handle("hang", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		deadline, _ := ctx.Deadline()
		entered <- time.Until(deadline)
		<-ctx.Done()
		left <- struct{}{}
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		if d := <-entered; d <= 0 || d > 20*time.Second {
			t.Errorf("the handler has %v", d)
		}
		cancel()
	}()
	if _, err := a.Call(ctx, "b", "hang", nil); !errors.Is(err, transport.ErrBroken) || errors.Is(err, transport.ErrUnreachable) {
		t.Fatalf("the caller gave up: %v", err)
	}
	<-left // the handler's context ended with the call

	go func() {
		<-entered
		b.close()
	}()
	if _, err := a.Call(patience(t), "b", "hang", nil); !errors.Is(err, transport.ErrBroken) {
		t.Fatalf("the node went away: %v", err)
	}
	<-left
}

// TestNodeComesBack: calls find a node again each time that it was away, and
// many first calls at once do not shut one another out.
func TestNodeComesBack(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	a := open(t, ca.Identity(t, "a"), "127.0.0.1:0", addresses)
	bID := ca.Identity(t, "b")
	b := open(t, bID, "127.0.0.1:0", addresses)
	for round := range 8 {
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				if _, err := a.Call(patience(t), "b", "who", nil); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		b.close()
		if _, err := a.Call(patience(t), "b", "who", nil); !errors.Is(err, transport.ErrUnreachable) && !errors.Is(err, transport.ErrBroken) {
			t.Fatalf("round %d: b is away: %v", round, err)
		}
		b = open(t, bID, b.address, addresses)
		// A connection that was still believed in may break once more.
		a.Call(patience(t), "b", "who", nil)
	}
	if t.Failed() {
		return
	}
	if _, err := a.Call(patience(t), "b", "who", nil); err != nil && !strings.Contains(err.Error(), "cut off") {
		t.Fatal(err)
	}
}
