package entropy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"testing"
	"time"

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
	copy(p, stream)
	return nil
}

// stream is what the generator of these tests gives, time after time: it looks
// random and is known.
var stream = func() []byte {
	p := make([]byte, entropy.DrawBytes)
	mrand.NewChaCha8([32]byte{1}).Read(p)
	return p
}()

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
	if bytes.Equal(a, stream[:32]) {
		t.Error("the module's bytes came out as they were")
	}
	if err := first.Draw(t.Context(), b); err != nil || !bytes.Equal(b, stream[32:64]) {
		t.Errorf("Draw is not the module's next bytes (error %v)", err)
	}
}

func TestSickGeneratorIsNotUsed(t *testing.T) {
	f := func(name string, spoil func(p []byte), sick bool) {
		t.Helper()
		source := &spoiled{spoil: spoil}
		pool := entropy.NewPool(source)
		defer pool.Close()
		buf := make([]byte, 32)
		err := pool.Read(t.Context(), buf)
		if sick != errors.Is(err, entropy.ErrGenerator) {
			t.Errorf("%s: error %v", name, err)
		}
		if !sick {
			return
		}
		if !bytes.Equal(buf, make([]byte, 32)) {
			t.Errorf("%s: bytes came out beside the error", name)
		}
		source.spoil = func([]byte) {}
		if err := pool.Draw(t.Context(), buf); !errors.Is(err, entropy.ErrGenerator) {
			t.Errorf("%s: the failure is forgotten: %v", name, err)
		}
		if pool.Healthy() == nil {
			t.Errorf("%s: the pool calls itself healthy", name)
		}
		select {
		case <-pool.Failed():
		default:
			t.Errorf("%s: nobody is told", name)
		}
	}
	fill := func(at, n int, b byte) func([]byte) {
		return func(p []byte) { copy(p[at:], bytes.Repeat([]byte{b}, n)) }
	}
	every := func(n int) func([]byte) {
		return func(p []byte) { // the first byte of the window again, n times in all, never two in a row
			for i := range n {
				p[2*i] = p[0]
				p[2*i+1] = p[0] + 1 + byte(i%100)
			}
		}
	}
	f("a healthy one", func([]byte) {}, false)
	f("stuck at zero", fill(0, entropy.DrawBytes, 0), true)
	f("nine in a row", func(p []byte) { fill(100, 9, p[99]+1)(p); p[109] = p[99] }, true)
	f("eight in a row", func(p []byte) { fill(100, 8, p[99]+1)(p); p[108] = p[99] }, false)
	f("thirty of a window", every(30), true)
	f("twenty of a window", every(20), false)
	f("alternating", func(p []byte) {
		for i := range p {
			p[i] = byte(i & 1)
		}
	}, true)
}

// A generator that sticks while bytes lie ready is found out by a test, not only
// by the draw after they are used up; and then those are not used either.
func TestTestLooksAtFreshBytes(t *testing.T) {
	source := &spoiled{spoil: func([]byte) {}}
	pool := entropy.NewPool(source)
	defer pool.Close()
	buf := make([]byte, 32)
	if err := pool.Read(t.Context(), buf); err != nil {
		t.Fatal(err)
	}
	if err := pool.Test(t.Context()); err != nil || source.draws != 2 {
		t.Fatalf("a healthy one: %v after %d draws", err, source.draws)
	}
	select {
	case <-pool.Failed():
		t.Error("a healthy generator failed")
	default:
	}
	source.spoil = func(p []byte) { copy(p, bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, len(p)/8)) }
	for _, what := range []string{"a stuck one", "asked again"} {
		if err := pool.Test(t.Context()); !errors.Is(err, entropy.ErrGenerator) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := pool.Read(t.Context(), buf); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("what was drawn before is used: %v", err)
	}
}

// A source that tests its generators itself, and says that they failed, is
// believed, for good.
func TestASourceThatTestsItselfIsBelieved(t *testing.T) {
	sick := fmt.Errorf("%w: so it is with both", entropy.ErrGenerator)
	source := &counting{}
	pool := entropy.NewPool(source)
	defer pool.Close()
	buf := make([]byte, 32)
	if err := pool.Read(t.Context(), buf); err != nil {
		t.Fatal(err)
	}
	source.err = sick
	if err := pool.Test(t.Context()); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a test: %v", err)
	}
	source.err = nil
	if err := pool.Read(t.Context(), buf); !errors.Is(err, entropy.ErrGenerator) || pool.Healthy() != sick {
		t.Errorf("after it: %v, %v", err, pool.Healthy())
	}

	tester := entropy.NewTester()
	tester.Condemn(sick)
	tester.Condemn(errors.New("another"))
	<-tester.Failed()
	if err := tester.Check(stream); err != sick || tester.FailedAt().IsZero() {
		t.Errorf("condemned: %v", err)
	}
}

// spoiled is the known generator, with a fault.
type spoiled struct {
	counting
	spoil func([]byte)
}

func (s *spoiled) Random(ctx context.Context, p []byte) error {
	if err := s.counting.Random(ctx, p); err != nil {
		return err
	}
	s.spoil(p)
	return nil
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

// hanging is a device that keeps whoever draws.
type hanging struct{ inside, release chan struct{} }

func (h hanging) Random(context.Context, []byte) error {
	h.inside <- struct{}{}
	<-h.release
	return errors.New("released")
}

// A device that hangs keeps only the one who draws from it.
func TestHungDeviceKeepsOneCaller(t *testing.T) {
	h := hanging{make(chan struct{}), make(chan struct{})}
	p := entropy.NewPool(h)
	first := make(chan error)
	go func() { first <- p.Read(context.Background(), make([]byte, 32)) }()
	<-h.inside
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := p.Read(ctx, make([]byte, 32)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits has a deadline: %v", err)
	}
	if err := p.Healthy(); err != nil {
		t.Error(err)
	}
	close(h.release)
	if err := <-first; err == nil {
		t.Error("what the device did not give was used")
	}
	p.Close()
	if err := p.Read(context.Background(), make([]byte, 32)); err == nil {
		t.Error("a closed pool gives bytes")
	}
}
