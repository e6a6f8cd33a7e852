package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/wire"
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
	port, socket := freePort(t, 1), filepath.Join(dir, "s")
	config := filepath.Join(dir, "kmsd.yaml")
	must(t, os.WriteFile(config, []byte(fmt.Sprintf(`
node: {id: n1, data_dir: %s, admin_socket: %s}
api: {listen: "127.0.0.1:%d"}
cluster: {listen: "127.0.0.1:%d"}
gossip: {listen: "127.0.0.1:%d"}
shutdown_timeout: 1s
module:
  kind: pkcs11
  pkcs11: {library: %s, token_label: node, pin_file: %s, environment: {SOFTHSM2_CONF: %s}}
`, filepath.Join(dir, "data"), socket, port, port+1, port+2, device.Path, secretFile(t, "user-5678"), environment["SOFTHSM2_CONF"])), 0o600))
	p := start(t, "serve", "--config", config)
	s := admin.Open(socket)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	await(t, "the admin socket", func() bool {
		_, err := s.Status(ctx)
		return err == nil
	})
	_, err = s.Init(ctx, wire.InitRequest{Region: "r-1", DomainName: "d", UserName: "u"})
	must(t, err)
	await(t, "a node that is ready", func() bool {
		status, err := s.Status(ctx)
		return err == nil && status.Ready
	})

	device.Hang(faultylib.Every)
	defer device.Release()
	go func() { _, _ = s.Doctor(ctx) }()
	await(t, "calls that hang", func() bool { return device.Inside() >= 2 })
	asked := time.Now()
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		t.Fatalf("the node has not ended after %v", stopTimeout)
	}
	// One second is its timeout, and five are those of a node with a device that hangs.
	if took := time.Since(asked); took < 6*time.Second || !strings.Contains(p.out.String(), "did not end within 6s") {
		t.Errorf("ended after %v, with: %s", took, p.out)
	}
}
