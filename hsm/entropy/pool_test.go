package entropy_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/hsm/entropy"
)

// counting is a generator whose bytes are predictable, so that what the pool
// adds can be seen.
type counting struct {
	mu    sync.Mutex
	draws int
	err   error
}

func (c *counting) Random(_ context.Context, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.draws++
	for i := range p {
		p[i] = 0xA5
	}
	return nil
}

func TestReadDrawsInBulk(t *testing.T) {
	source := &counting{}
	pool := entropy.NewPool(source)
	defer pool.Close()
	buf := make([]byte, 32)
	for range 2 * entropy.DrawBytes / 32 {
		if err := pool.Read(t.Context(), buf); err != nil {
			t.Fatal(err)
		}
	}
	if source.draws != 2 {
		t.Errorf("draws = %d, want 2: the device must be asked in bulk", source.draws)
	}
}

func TestReadAddsTheOperatingSystemsShare(t *testing.T) {
	// Two pools over equal module bytes are what two clones of one machine are.
	first, second := entropy.NewPool(&counting{}), entropy.NewPool(&counting{})
	defer first.Close()
	defer second.Close()
	a, b := make([]byte, 32), make([]byte, 32)
	if err := first.Read(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := second.Read(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, b) {
		t.Error("two clones drew the same data key")
	}
	if bytes.Equal(a, bytes.Repeat([]byte{0xA5}, 32)) {
		t.Error("the module's bytes came out as they were")
	}
}

func TestReadSaysWhenTheModuleFails(t *testing.T) {
	broken := errors.New("no entropy")
	source := &counting{err: broken}
	pool := entropy.NewPool(source)
	if err := pool.Read(t.Context(), make([]byte, 32)); !errors.Is(err, broken) {
		t.Errorf("error = %v, want the module's", err)
	}
	source.err = nil
	if err := pool.Read(t.Context(), make([]byte, 32)); err != nil {
		t.Errorf("after the module is back: %v", err)
	}
	if err := pool.Read(t.Context(), make([]byte, entropy.DrawBytes+1)); err == nil {
		t.Error("a read larger than a draw was answered")
	}
	pool.Close()
	if err := pool.Read(t.Context(), make([]byte, 32)); err == nil {
		t.Error("a closed pool answered")
	}
}

func TestReadFromManyGoroutines(t *testing.T) {
	pool := entropy.NewPool(&counting{})
	defer pool.Close()
	var seen sync.Map
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1000 {
				var key [32]byte
				if err := pool.Read(t.Context(), key[:]); err != nil {
					t.Error(err)
					return
				}
				if _, dup := seen.LoadOrStore(key, true); dup {
					t.Error("one data key came twice")
					return
				}
			}
		})
	}
	wg.Wait()
}
