package failover_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/soft"
)

// flapping is a real module that is away in every second call, at random.
type flapping struct {
	hsm.Module
	steady *atomic.Int64 // above 0: it is there
}

func (f flapping) away() error {
	if f.steady.Load() == 0 && rand.IntN(2) == 0 {
		return hsm.ErrUnavailable
	}
	return nil
}

func (f flapping) Health() hsm.Health       { return hsm.Health{} }
func (f flapping) Changed() <-chan struct{} { return nil }

func (f flapping) Under(g hsm.RootGeneration) hsm.Module {
	return flapping{f.Module.Under(g), f.steady}
}

// lost is what the device did, or that nobody heard of it.
func lost[T any](f flapping, v T, err error) (T, error) {
	if err == nil {
		err = f.away()
	}
	return v, err
}

func (f flapping) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	w, err := f.Module.Generate(ctx, level, spec)
	return lost(f, w, err)
}

func (f flapping) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	w, err := f.Module.Import(ctx, level, spec, material)
	return lost(f, w, err)
}

func (f flapping) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	loaded, err := f.Module.Load(ctx, w)
	if err != nil {
		return nil, err
	}
	if away := f.away(); away != nil {
		return nil, errors.Join(away, loaded.Close())
	}
	if key, is := loaded.(hsm.Key); is && w.Level == hsm.LevelHSM {
		return flappingKey{key, f}, nil
	}
	return loaded, nil
}

func (f flapping) Seal(ctx context.Context) (hsm.Key, error) {
	key, err := f.Module.Seal(ctx)
	if err != nil {
		return nil, err
	}
	return flappingKey{key, f}, f.away()
}

func (f flapping) MAC(ctx context.Context, message []byte) ([]byte, error) {
	mac, err := f.Module.MAC(ctx, message)
	return lost(f, mac, err)
}

func (f flapping) VerifyMAC(ctx context.Context, message, mac []byte) error {
	_, err := lost(f, struct{}{}, f.Module.VerifyMAC(ctx, message, mac))
	return err
}

func (f flapping) Rewrap(ctx context.Context, w hsm.Wrapped, to hsm.RootGeneration) (hsm.Wrapped, error) {
	w, err := f.Module.Rewrap(ctx, w, to)
	return lost(f, w, err)
}

func (f flapping) Random(ctx context.Context, p []byte) error {
	_, err := lost(f, struct{}{}, f.Module.Random(ctx, p))
	return err
}

type flappingKey struct {
	hsm.Key
	of flapping
}

func (k flappingKey) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	if err := k.of.away(); err != nil {
		clear(dst) // what a device may do that fails half-way
		return err
	}
	return k.Key.EncryptBlocks(ctx, dst, src)
}

// copying is a pair whose operator brings roots to the second device whenever
// there are new ones. While roots change, both devices are there.
type copying struct {
	*failover.Pair
	steady *atomic.Int64
}

func (c copying) steadily(f func() error) error {
	c.steady.Add(1)
	defer c.steady.Add(-1)
	return f()
}

func (c copying) OpenRoots(ctx context.Context, cluster hsm.ClusterID) (g hsm.RootGeneration, err error) {
	err = c.steadily(func() error {
		g, err = c.Pair.OpenRoots(ctx, cluster)
		return err
	})
	return g, err
}

func (c copying) CreateRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	return c.steadily(func() error {
		if err := c.Pair.CreateRoots(ctx, cluster, generation); err != nil {
			return err
		}
		// By way of a backup, since a transport key takes long to make.
		recoveryKey := make([]byte, hsm.RecoveryKeySize)
		bundle, err := c.BackUpRoots(ctx, generation, recoveryKey, nil)
		if err != nil {
			return err
		}
		return c.Pair.RestoreRoots(ctx, bundle, recoveryKey)
	})
}

func (c copying) DestroyRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	return c.steadily(func() error { return c.Pair.DestroyRoots(ctx, cluster, generation) })
}

func (c copying) ImportRoots(ctx context.Context, bundle hsm.RootBundle) error {
	return c.steadily(func() error {
		err := c.Pair.ImportRoots(ctx, bundle)
		if err == nil {
			_, err = c.CopyRoots(ctx, bundle.Generation, nil)
		}
		return err
	})
}

func (c copying) RestoreRoots(ctx context.Context, bundle hsm.RootBundle, recoveryKey []byte) error {
	return c.steadily(func() error { return c.Pair.RestoreRoots(ctx, bundle, recoveryKey) })
}

// Two devices of which one comes and goes all the time are as good as one that
// does not.
func TestConformance(t *testing.T) {
	arena := locked.NewArena(64 << 10)
	t.Cleanup(func() { ok(t, arena.Close()) })
	hsmtest.Run(t, func(t *testing.T) hsmtest.Target {
		dirs := make(map[hsm.Module]string)
		open := func(t *testing.T, dir string) hsm.Module {
			steady := new(atomic.Int64)
			device := func(name string) failover.Device {
				return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) {
					m, err := soft.Open(ctx, soft.Config{
						RootsFile:      filepath.Join(dir, name+"-roots"),
						PrivateKeyFile: filepath.Join(dir, name+"-private"),
						UnlockKeyFile:  filepath.Join(dir, name+"-unlock"),
					})
					if name == "first" && err == nil {
						return flapping{m, steady}, nil
					}
					return m, err
				}}
			}
			p, err := failover.Open(t.Context(), failover.Config{Devices: [2]failover.Device{device("first"), device("second")}})
			ok(t, err)
			dirs[copying{p, steady}] = dir
			return copying{p, steady}
		}
		return hsmtest.Target{
			New: func(t *testing.T) hsm.Module { return open(t, t.TempDir()) },
			Reopen: func(t *testing.T, m hsm.Module) hsm.Module {
				ok(t, m.Close())
				return open(t, dirs[m])
			},
			// RSA keys take long to make: TestEveryUse and TestTwoSlotsOfOneLibrary have them.
			Without: []string{"RootsTransport", "RootsTransportRefusals", "RootsUnder", "Algorithms", "Imports", "DecryptsPKCS1"},
			LoadKnown: func(_ context.Context, t *testing.T, _ hsm.Module, _ hsm.Level, raw []byte) hsm.Key {
				k, err := arena.NewKey(bytes.Clone(raw))
				ok(t, err)
				return k
			},
		}
	})
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
