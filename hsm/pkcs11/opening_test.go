package pkcs11_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// openLimit is far above what opening SoftHSM takes.
const openLimit = time.Second

// hanging is a token whose library hangs in a function, until the test ends. It
// has a SoftHSM of its own, so that it is another device than those of others.
func hanging(t *testing.T, in faultylib.Function) (pkcs11.Config, *faultylib.Device) {
	t.Helper()
	cfg := newToken(t)
	dir := t.TempDir()
	text, err := os.ReadFile(cfg.Library)
	ok(t, err)
	own := filepath.Join(dir, "libown.so")
	ok(t, os.WriteFile(own, text, 0o700))
	d, err := faultylib.New(dir, own)
	ok(t, err)
	cfg.Library, cfg.OpenLimit = d.Path, openLimit
	d.Hang(in)
	t.Cleanup(func() {
		d.Release()
		for d.Inside() > 0 {
			time.Sleep(time.Millisecond)
		}
		ok(t, d.Close())
	})
	return cfg, d
}

func wantSilence(t *testing.T, cfg pkcs11.Config, started time.Time, said string) {
	t.Helper()
	if took := time.Since(started); took < openLimit || took > 20*openLimit {
		t.Errorf("it took %v to say so", took)
	}
	for _, want := range []string{cfg.Library, cfg.TokenLabel, "within 1s", "check that"} {
		if !strings.Contains(said, want) || strings.Contains(said, "\n") {
			t.Errorf("%q, which lacks %q", said, want)
		}
	}
}

// A library that hangs while it is opened is told after the limit, whichever call
// it hangs in, and keeps no other library from being opened.
func TestOpenHangs(t *testing.T) {
	for name, in := range map[string]faultylib.Function{
		"C_Initialize": faultylib.Initialize, "C_GetSlotList": faultylib.GetSlotList, "C_GetTokenInfo": faultylib.GetTokenInfo,
		"C_OpenSession": faultylib.OpenSession, "C_Login": faultylib.Login, "C_GenerateKey": faultylib.GenerateKey,
	} {
		t.Run(name, func(t *testing.T) {
			cfg, d := hanging(t, in)
			started := time.Now()
			_, err := pkcs11.Open(testContext(t), cfg)
			if !errors.Is(err, hsm.ErrUnavailable) {
				t.Fatalf("opened: %v", err)
			}
			wantSilence(t, cfg, started, err.Error())
			open(t, newToken(t))

			// What comes out of it late is closed, and then it opens.
			d.Release()
			var m *pkcs11.Module
			for deadline := time.Now().Add(4 * backWithin); ; time.Sleep(time.Millisecond) {
				if m, err = pkcs11.Open(testContext(t), cfg); err == nil || time.Now().After(deadline) {
					break
				}
			}
			ok(t, err)
			ok(t, m.Close())
			if n := d.Sessions(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

// Who is asked to end while the library hangs does not wait for the limit.
func TestOpenIsBrokenOff(t *testing.T) {
	cfg, _ := hanging(t, faultylib.GetSlotList)
	cfg.OpenLimit = time.Hour
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := pkcs11.Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("opened: %v", err)
	}
}

// The report on a library that hangs says so.
func TestDiagnoseHangs(t *testing.T) {
	for _, in := range []faultylib.Function{faultylib.GetSlotList, faultylib.Login} {
		cfg, _ := hanging(t, in)
		started := time.Now()
		r := pkcs11.Diagnose(testContext(t), cfg)
		if r.Carries() || len(r.Problems) != 1 {
			t.Fatalf("the problems are %q", r.Problems)
		}
		wantSilence(t, cfg, started, r.Problems[0])
	}
}
