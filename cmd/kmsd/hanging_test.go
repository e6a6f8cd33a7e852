package main_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
)

// A node whose HSM hangs for good ends in the time that it has once it is asked
// to, although calls that are in the device never return, and says so.
func TestStopsWhileItsDeviceHangs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n, device := foundWithHSM(ctx, t, "shutdown_timeout: 1s")
	await(t, "a node that is ready", func() bool {
		status, err := n.socket.Status(ctx)
		return err == nil && status.Ready
	})

	device.Hang(faultylib.Every)
	defer device.Release()
	go func() { _, _ = n.socket.Doctor(ctx) }()
	await(t, "calls that hang", func() bool { return device.Inside() >= 2 })
	asked := time.Now()
	must(t, n.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-n.ended:
	case <-time.After(stopTimeout):
		t.Fatalf("the node has not ended after %v", stopTimeout)
	}
	// One second is its timeout, and five are those of a node with a device that hangs.
	if took := time.Since(asked); took < 6*time.Second || !strings.Contains(n.out.String(), "did not end within 6s") {
		t.Errorf("ended after %v, with: %s", took, n.out)
	}
}
