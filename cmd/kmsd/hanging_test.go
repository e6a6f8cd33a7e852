package main_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// A node whose HSM hangs for good ends in the time that it has once it is asked
// to, although calls that are in the device never return, and says so.
func TestStopsWhileItsDeviceHangs(t *testing.T) {
	dir := t.TempDir()
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	device, err := faultylib.New(dir, library)
	must(t, err)
	environment, err := pkcs11.CreateSoftHSMToken(dir, "node", []byte("officer-1234"), []byte("user-5678"))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n := foundAlone(ctx, t, dir, fmt.Sprintf(`
shutdown_timeout: 1s
module:
  kind: pkcs11
  pkcs11: {library: %s, token_label: node, pin_file: %s, environment: {SOFTHSM2_CONF: %s}}
`, device.Path, secretFile(t, "user-5678"), environment["SOFTHSM2_CONF"]))
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
