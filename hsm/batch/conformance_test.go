package batch_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/soft"
)

// module is a software module whose keys are all batched.
type module struct {
	*soft.Module
	device *batch.Device
}

func (m *module) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	loaded, err := m.Module.Load(ctx, w)
	if err != nil {
		return nil, err
	}
	if k, is := loaded.(hsm.Key); is {
		return m.device.Key(k), nil
	}
	return loaded, nil
}

func (m *module) Seal(ctx context.Context) (hsm.Key, error) {
	k, err := m.Module.Seal(ctx)
	if err != nil {
		return nil, err
	}
	return m.device.Key(k), nil
}

// A module with batched keys is as good as one without: it passes the same suite.
func TestConformance(t *testing.T) {
	arena := locked.NewArena(64 << 10)
	t.Cleanup(func() { must(t, arena.Close()) })
	hsmtest.Run(t, func(t *testing.T) hsmtest.Target {
		configs := make(map[hsm.Module]soft.Config)
		open := func(t *testing.T, c soft.Config) hsm.Module {
			opened, err := soft.Open(context.Background(), c)
			must(t, err)
			m := &module{opened, batch.New(batch.Config{MaxBlocks: opened.Describe().MaxBlocks})}
			t.Cleanup(func() { must(t, m.device.Close(context.Background()), opened.Close()) })
			configs[m] = c
			return m
		}
		return hsmtest.Target{
			New: func(t *testing.T) hsm.Module {
				dir := t.TempDir()
				return open(t, soft.Config{
					RootsFile:      filepath.Join(dir, "roots"),
					PrivateKeyFile: filepath.Join(dir, "private"),
					UnlockKeyFile:  filepath.Join(dir, "unlock"),
				})
			},
			Reopen: func(t *testing.T, m hsm.Module) hsm.Module {
				must(t, m.Close())
				return open(t, configs[m])
			},
			LoadKnown: func(_ context.Context, t *testing.T, m hsm.Module, _ hsm.Level, raw []byte) hsm.Key {
				k, err := arena.NewKey(bytes.Clone(raw))
				must(t, err)
				return m.(*module).device.Key(k)
			},
		}
	})
}
