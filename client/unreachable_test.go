package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// Whatever is wrong with where a client is pointed, it says so by a kind of
// error, within the time that it was given; also a write was not done then.
func TestUnreachable(t *testing.T) {
	// nobody listens there
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "https://" + listener.Addr().String()
	listener.Close()
	// it accepts, and says nothing
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	// it speaks HTTP without TLS
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	f := func(what, endpoint string) {
		t.Helper()
		cfg := configure(newFake(t, reply(dataKey)))
		cfg.Endpoints = []string{endpoint}
		cfg.Patience = time.Minute
		c := open(t, cfg)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		for name, call := range map[string]func() error{
			"a use":   func() error { _, err := c.CreateDataKey(ctx, "k", client.DataKeyOptions{}); return err },
			"a write": func() error { return c.DisableKey(ctx, "k") },
			"nodes":   func() error { _, err := c.Nodes(ctx); return err },
		} {
			if err := call(); !errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrOutcomeUnknown) {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
		if passed := time.Since(begin); passed > 30*time.Second { // a loaded machine; the patience is a minute
			t.Errorf("%s: it took %s", what, passed)
		}
	}
	f("nobody listens", gone)
	f("it hangs", "https://"+mute.Addr().String())
	f("plain HTTP", "https://"+plain.Listener.Addr().String())
	f("no such name", "dns://raftkms.invalid:8440")
}

// A node that takes a request and never answers: a use of a key ends as
// unavailable, a write as unknown, both by the deadline of the caller.
func TestANodeThatNeverAnswers(t *testing.T) {
	release := make(chan struct{})
	node := newFake(t, func(http.ResponseWriter, string, string) { <-release })
	defer close(release)
	cfg := configure(node)
	cfg.Patience, cfg.AttemptTimeout = time.Minute, 50*time.Millisecond
	c := open(t, cfg)
	f := func(want error, call func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := call(ctx); !errors.Is(err, want) || time.Since(begin) > 30*time.Second {
			t.Errorf("%v after %s, want %v", err, time.Since(begin), want)
		}
	}
	f(client.ErrUnavailable, func(ctx context.Context) error {
		_, err := c.CreateDataKey(ctx, "k", client.DataKeyOptions{})
		return err
	})
	f(client.ErrOutcomeUnknown, func(ctx context.Context) error { return c.DisableKey(ctx, "k") })
}
