package soft_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/soft"
)

func TestConformance(t *testing.T) {
	hsmtest.Run(t, func(t *testing.T) hsmtest.Target {
		configs := make(map[hsm.Module]soft.Config)
		open := func(t *testing.T, c soft.Config) hsm.Module {
			m := openModule(t, c)
			configs[m] = c
			return m
		}
		return hsmtest.Target{
			New: func(t *testing.T) hsm.Module { return open(t, newConfig(t)) },
			Reopen: func(t *testing.T, m hsm.Module) hsm.Module {
				if err := m.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, configs[m])
			},
			LoadKnown: func(ctx context.Context, t *testing.T, m hsm.Module, level hsm.Level, raw []byte) hsm.Key {
				w, err := m.(*soft.Module).WrapKnown(ctx, level, raw)
				if err != nil {
					t.Fatal(err)
				}
				k, err := hsm.LoadKey(ctx, m, w)
				if err != nil {
					t.Fatal(err)
				}
				return k
			},
		}
	})
}

// newConfig names files that do not exist yet.
func newConfig(t *testing.T) soft.Config {
	dir := t.TempDir()
	return soft.Config{
		RootsFile:      filepath.Join(dir, "roots"),
		PrivateKeyFile: filepath.Join(dir, "private"),
		UnlockKeyFile:  filepath.Join(dir, "unlock"),
	}
}

func openModule(t *testing.T, c soft.Config) *soft.Module {
	t.Helper()
	m, err := soft.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
