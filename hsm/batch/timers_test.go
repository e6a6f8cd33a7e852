//go:build !race

// Under the race detector the scheduler takes turns at random, on purpose.

package batch_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/hsm/batch"
)

// watched is a context that counts how often it is asked for its end: a node's
// makes a timer then.
type watched struct {
	context.Context
	asked *atomic.Int64
}

func (w watched) Done() <-chan struct{} {
	w.asked.Add(1)
	return w.Context.Done()
}

func TestCallersOfAFastDeviceNeedNoTimer(t *testing.T) {
	// With one processor who yields comes after all who are there.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const n, rounds = 64, 100
	var asked atomic.Int64
	ctx := watched{Context: t.Context(), asked: &asked}
	d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 4})
	k := d.Key(newKey(t, 1))
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			b := blocks(i, 2)
			for range rounds {
				if err := k.EncryptBlocks(ctx, b, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("asked %d times in %d calls", asked.Load(), n*rounds)
	// Somebody may be interrupted inside the device: then those who wait do ask.
	if asked.Load() > n*rounds/10 {
		t.Errorf("%d of %d callers asked for the end of their context", asked.Load(), n*rounds)
	}
}
