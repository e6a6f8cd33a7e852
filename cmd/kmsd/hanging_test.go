package main_test

import (
	"context"
	"os"
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
	await(t, "a call that hangs", func() bool { return device.Inside() > 0 }) // it may be one that is alone in the device
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

// A node whose HSM hangs when it is opened does not wait for ever: it says which
// library it is and ends, and so the service manager tries again.
func TestEndsWhenItsDeviceDoesNotOpen(t *testing.T) {
	for _, in := range []faultylib.Function{faultylib.Initialize, faultylib.GetSlotList, faultylib.Login} {
		file, device := nodeWithHSM(t, "open_limit: 1s")
		device.Hang(in)
		wantOneSentence(t, []string{"opening the module: the module is unavailable", device.Path, "within 1s; check that the HSM is on"},
			"serve", "--config", file)
		device.Release()
	}
}

// nodeWithHSM is nodeFile with the module of [faultyModule].
func nodeWithHSM(t *testing.T, more ...string) (file string, device *faultylib.Device) {
	t.Helper()
	module, device := faultyModule(t, t.TempDir(), more...)
	file = nodeFile(t, freePort(t, 1))
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, append(text, module...), 0o600))
	return file, device
}
