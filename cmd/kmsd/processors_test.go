package main_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// A slow HSM has Go's scheduler run more threads than the machine has
// processors, one for each call that may be inside.
func TestSlowHSMGetsThreads(t *testing.T) {
	if os.Getenv("GOMAXPROCS") != "" {
		t.Fatal("this test needs GOMAXPROCS to be unset: a node leaves alone what its environment says")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*startTimeout)
	defer cancel()
	n, device := foundWithHSM(ctx, t, "")
	c := n.client(t)
	key, err := c.CreateKey(ctx, client.NewKey{Name: "orders", Level: "HSM"})
	must(t, err)
	threads := func() float64 { return n.metric(ctx, t, "go_gomaxprocs") }
	own := threads()
	more := own + max(4, 2*own)
	device.Delay(time.Millisecond)
	await(t, "a thread for each session", func() bool {
		_, err := c.CreateDataKey(ctx, key, client.DataKeyOptions{})
		must(t, err)
		return threads() == min(more, 4*own)
	})
	if lasts := n.metric(ctx, t, "kmsd_hsm_call_seconds"); lasts < 200e-6 || lasts > 1e-3 {
		t.Errorf("a call with a millisecond of delay is said to last %v s", lasts)
	}
}
