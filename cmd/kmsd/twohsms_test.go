package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/wire"
)

// A node whose configuration names two HSMs goes on when the first is pulled
// out: no caller notices. Its status says so, and that the first is used again;
// also when the first's generator sticks, and then it is not.
func TestANodeWithTwoHSMs(t *testing.T) {
	const officerPIN, userPIN = "officer-1234", "user-5678"
	dir := t.TempDir()
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	var environment map[string]string
	for _, label := range []string{"one", "two"} {
		environment, err = pkcs11.CreateSoftHSMToken(dir, label, []byte(officerPIN), []byte(userPIN))
		must(t, err)
	}
	// A library of its own for each makes two devices of them.
	text, err := os.ReadFile(library)
	must(t, err)
	second := filepath.Join(dir, "second.so")
	must(t, os.WriteFile(second, text, 0o700))
	first, err := faultylib.New(dir, library)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*startTimeout)
	defer cancel()
	n := foundAlone(ctx, t, dir, fmt.Sprintf(`
module:
  kind: pkcs11
  pkcs11: {library: %s, token_label: one, pin_file: %s, environment: {SOFTHSM2_CONF: %s}}
  second: {library: %s, token_label: two}
`, first.Path, secretFile(t, userPIN), environment["SOFTHSM2_CONF"], second))
	s := n.socket
	problems := func() string {
		status, err := s.Status(ctx)
		must(t, err)
		var all []string
		for _, m := range status.Modules {
			if !m.Serves {
				all = append(all, m.Name)
			}
		}
		return strings.Join(all, " ")
	}
	if got := problems(); got != "second" {
		t.Errorf("before it has the root keys these cannot take over: %q", got)
	}
	copied, err := s.CopyRoots(ctx, wire.CopyRootsRequest{OfficerPIN: officerPIN})
	must(t, err)
	if len(copied.Copied) != 1 || copied.Copied[0].HSM != "second" || problems() != "" {
		t.Fatalf("copied %+v; %q cannot take over", copied, problems())
	}

	c := n.client(t)
	key, err := c.CreateKey(ctx, client.NewKey{Name: "orders", Level: "HSM"})
	must(t, err)
	var made atomic.Int64
	var load sync.WaitGroup
	stop, stopLoad := context.WithCancel(ctx)
	defer load.Wait()
	defer stopLoad()
	for range 4 {
		load.Go(func() {
			for stop.Err() == nil {
				sealed, err := c.CreateDataKey(ctx, key, client.DataKeyOptions{})
				if err == nil {
					var opened []byte
					if opened, err = c.DecryptDataKey(ctx, key, sealed.Ciphertext, client.DataKeyOptions{}); err == nil && string(opened) != string(sealed.Plaintext) {
						err = fmt.Errorf("a data key opens as another")
					}
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				made.Add(1)
			}
		})
	}
	more := func(what string) {
		t.Helper()
		had := made.Load()
		await(t, "data keys "+what, func() bool { return made.Load() > had+50 || t.Failed() })
	}
	for range 2 {
		more("of the first HSM")
		first.Unplug()
		await(t, "the first HSM to be missed", func() bool { return problems() == "first" })
		more("of the second HSM")
		first.Plug()
		await(t, "the first HSM to be used again", func() bool { return problems() == "" })
	}
	first.StickGenerator(0x0102030405060708)
	_, err = c.CreateKey(ctx, client.NewKey{Name: "invoices", Level: "HSM"})
	must(t, err)
	more("after the first HSM's generator has failed")
	first.UnstickGenerator()
	more("when it moves again")
	if got := problems(); got != "first" {
		t.Errorf("after a generator has failed these cannot be used: %q", got)
	}
}
