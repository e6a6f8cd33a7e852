package dev_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/dev"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The whole of kmsd dev is shown by the tests of cmd/kmsd, with real
// processes. These are about what it refuses before it starts any, and about a
// child that does not start.

func run(t *testing.T, o dev.Options) string {
	t.Helper()
	o.Out = io.Discard
	err := dev.Run(context.Background(), o)
	if err == nil {
		t.Fatalf("%+v runs", o)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the refusal has several lines: %q", err)
	}
	return err.Error()
}

func freePort() int { return 10000 + 10*rand.IntN(2000) }

func TestADirectoryKeepsItsCluster(t *testing.T) {
	dir := t.TempDir()
	kept := `{"nodes":3,"module":"soft","port":` + strconv.Itoa(freePort()) + `,"complete":true}`
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(o dev.Options, want string) {
		t.Helper()
		o.Dir, o.Executable = dir, "/bin/false"
		if got := run(t, o); !strings.Contains(got, want) {
			t.Errorf("%+v: %q lacks %q", o, got, want)
		}
	}
	f(dev.Options{Nodes: 5}, "holds a cluster made with --nodes 3, not 5")
	f(dev.Options{Module: "pkcs11"}, "holds a cluster made with --module soft, not pkcs11")
	f(dev.Options{Port: 1024}, "holds a cluster made with --port")
	f(dev.Options{Calls: 8}, "holds a cluster made with --calls 1024, not 8")
	f(dev.Options{Calls: 65_537}, "--calls 65537 must lie between 1 and 65536")
	f(dev.Options{Calls: 1024}, "whose credentials were lost")
	f(dev.Options{Nodes: 3, Module: "soft"}, "whose credentials were lost")
}

func TestAChildThatDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	got := run(t, dev.Options{Dir: dir, Nodes: 1, Port: freePort(), Executable: "/bin/false"})
	if !strings.Contains(got, "node-1 ended while it started") {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "dev.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev.json is there: %v", err)
	}
	if got := run(t, dev.Options{Dir: t.TempDir(), Nodes: 1, Port: freePort(), Executable: "/nonexistent"}); !strings.Contains(got, "starting node-1") {
		t.Errorf("got %q", got)
	}
}

func TestANamedPKCS11LibraryIsUsed(t *testing.T) {
	found, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatal(err)
	}
	library := filepath.Join(t.TempDir(), "named.so")
	if err := os.Symlink(found, library); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run(t, dev.Options{Dir: dir, Nodes: 1, Port: freePort(), Module: "pkcs11", PKCS11Library: library, Executable: "/bin/false"})
	c, err := config.Load(filepath.Join(dir, "node-1", "kmsd.yaml"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Module.PKCS11
	if p.Library != library || p.TokenLabel != "raftkms-node-1" || p.Environment["SOFTHSM2_CONF"] == "" {
		t.Errorf("the node's module is %+v", p)
	}
	if err := c.CheckSecrets(""); err != nil {
		t.Error(err)
	}
	if pin, err := config.ReadSecret(p.PINFile, ""); err != nil || len(pin) != 16 {
		t.Errorf("the PIN has %d bytes, %v", len(pin), err)
	}
}

func TestThePlainRefusals(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port - 11 // node 2's cluster port
	f := func(o dev.Options, want string) {
		t.Helper()
		o.Dir, o.Executable = t.TempDir(), "/bin/false"
		if got := run(t, o); !strings.Contains(got, want) {
			t.Errorf("%+v: %q lacks %q", o, got, want)
		}
	}
	f(dev.Options{Nodes: -1}, "--nodes -1")
	f(dev.Options{Nodes: 8}, "--nodes 8")
	f(dev.Options{Module: "x"}, `--module "x"`)
	f(dev.Options{Port: 65500}, "--port 65500")
	f(dev.Options{Nodes: 2, Port: taken}, "port in use")
	f(dev.Options{Module: "pkcs11", PKCS11Library: "/nonexistent.so"}, "PKCS #11 library")
}
