package pkcs11_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

const (
	officerPIN = "officer-1234"
	userPIN    = "user-5678"
)

var (
	home  = hsm.ClusterID{0x68, 15: 1}
	other = hsm.ClusterID{0x6f, 15: 2}
)

// tokens is the one SoftHSM of the test process: a process has one configuration.
var tokens struct {
	dir  string
	next atomic.Int64
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "p11-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		tokens.dir = dir
		env, err := pkcs11.CreateSoftHSMToken(dir, "first", []byte(officerPIN), []byte(userPIN))
		if err != nil {
			fmt.Fprintln(os.Stderr, "these tests need SoftHSM (apt-get install softhsm2):", err)
			return 1
		}
		for name, value := range env {
			if err := os.Setenv(name, value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

// newToken makes an empty token and returns the configuration to open it with.
func newToken(t testing.TB) pkcs11.Config {
	t.Helper()
	label := fmt.Sprintf("token %d", tokens.next.Add(1))
	_, err := pkcs11.CreateSoftHSMToken(tokens.dir, label, []byte(officerPIN), []byte(userPIN))
	ok(t, err)
	return config(t, label)
}

func config(t testing.TB, label string) pkcs11.Config {
	t.Helper()
	library, err := pkcs11.FindSoftHSM()
	ok(t, err)
	return pkcs11.Config{
		Library:    library,
		TokenLabel: label,
		PIN:        func() ([]byte, error) { return []byte(userPIN), nil },
	}
}

func open(t testing.TB, cfg pkcs11.Config) *pkcs11.Module {
	t.Helper()
	m, err := pkcs11.Open(testContext(t), cfg)
	ok(t, err)
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing the module: %v", err)
		}
	})
	return m
}

// rooted returns a module over a new token with generation 1 of the home cluster.
func rooted(t testing.TB) *pkcs11.Module {
	t.Helper()
	m := open(t, newToken(t))
	ok(t, m.CreateRoots(testContext(t), home, 1))
	return m
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsmtest.Target {
		configs := make(map[hsm.Module]pkcs11.Config)
		opened := func(t *testing.T, cfg pkcs11.Config) hsm.Module {
			m, err := pkcs11.Open(testContext(t), cfg)
			ok(t, err)
			configs[m] = cfg
			return m
		}
		return hsmtest.Target{
			New: func(t *testing.T) hsm.Module { return opened(t, newToken(t)) },
			Reopen: func(t *testing.T, m hsm.Module) hsm.Module {
				ok(t, m.Close())
				return opened(t, configs[m])
			},
			OfficerPIN: []byte(officerPIN),
			LoadKnown: func(ctx context.Context, t *testing.T, m hsm.Module, level hsm.Level, raw []byte) hsm.Key {
				w, err := m.(*pkcs11.Module).WrapKnown(ctx, level, raw)
				ok(t, err)
				k, err := hsm.LoadKey(ctx, m, w)
				ok(t, err)
				return k
			},
		}
	})
}
