package kms

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/raftkms/raftkms/hsm"
)

// made counts the pairs that a pool has had made.
func poolOf(t *testing.T, generation hsm.RootGeneration, failing *atomic.Bool) (p *pairPool, made *atomic.Int64) {
	t.Helper()
	made = new(atomic.Int64)
	p = newPairPool(func(context.Context) (hsm.Wrapped, error) {
		if failing != nil && failing.Load() {
			return hsm.Wrapped{}, hsm.ErrUnavailable
		}
		made.Add(1)
		return hsm.Wrapped{Generation: generation, Blob: []byte{byte(made.Load())}}, nil
	})
	t.Cleanup(p.close)
	return p, made
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited long for %s", what)
		}
	}
}

// Pairs are made ahead of need, a few, and none before anybody imports; no two
// callers get one.
func TestPairsAreMadeAheadOfNeed(t *testing.T) {
	p, made := poolOf(t, 1, nil)
	time.Sleep(20 * time.Millisecond)
	if made.Load() != 0 {
		t.Error("pairs are made although nobody needs one")
	}
	p.expect()
	soon(t, "the pool to fill", func() bool { return made.Load() == pairsReady })
	time.Sleep(20 * time.Millisecond)
	if n := made.Load(); n != pairsReady {
		t.Errorf("%d pairs are made ahead", n)
	}
	seen := make(map[byte]bool)
	for range pairsAtOnce {
		pair, err := p.take(t.Context(), 1)
		if err != nil || seen[pair.Blob[0]] {
			t.Fatalf("pair %v twice, or %v", pair.Blob, err)
		}
		seen[pair.Blob[0]] = true
	}
}

// However many ask, the device makes no more than so many a second.
func TestPairsAreLimited(t *testing.T) {
	p, made := poolOf(t, 1, nil)
	p.limit = rate.NewLimiter(rate.Every(time.Hour), 3)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for i := range 3 {
		if _, err := p.take(ctx, 1); err != nil {
			t.Fatalf("pair %d: %v", i, err)
		}
	}
	if _, err := p.take(ctx, 1); KindOf(err) != KindUnavailable || made.Load() != 3 {
		t.Errorf("%d pairs were made: %v", made.Load(), err)
	}
	p.waiting.Store(pairsAwaited)
	if _, err := p.take(t.Context(), 1); KindOf(err) != KindUnavailable {
		t.Errorf("one more who waits: %v", err)
	}
}

// A failure of the module is told to whoever asks, and the pool goes on after it.
func TestPairsAfterAFailure(t *testing.T) {
	var failing atomic.Bool
	failing.Store(true)
	p, _ := poolOf(t, 1, &failing)
	for range 3 {
		if _, err := p.take(t.Context(), 1); !errors.Is(err, hsm.ErrUnavailable) || KindOf(err) != KindUnavailable {
			t.Errorf("while the module is gone: %v", err)
		}
	}
	failing.Store(false)
	soon(t, "a pair", func() bool { _, err := p.take(t.Context(), 1); return err == nil })
}

// A pair of roots that were changed is of no use, and a pool that ends tells
// whoever waits.
func TestPairsOfOtherRootsAndTheEnd(t *testing.T) {
	p, made := poolOf(t, 1, nil)
	ended := make(chan error)
	go func() {
		_, err := p.take(context.Background(), 2)
		ended <- err
	}()
	soon(t, "pairs to be passed over", func() bool { return made.Load() > pairsReady })
	p.close()
	if err := <-ended; KindOf(err) != KindUnavailable {
		t.Errorf("got %v", err)
	}
	newPairPool(nil).close() // one that never began
}
