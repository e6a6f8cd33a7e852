package entropy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrGenerator means that the module's generator failed a health test. It is
// final: a healthy generator does so with a probability of 2^-60 per sample, so
// the node must not serve until somebody has looked at its module.
var ErrGenerator = errors.New("the module's random generator failed its health test (have the HSM examined, and restart the node after that; until then it makes and uses no keys)")

// The continuous health tests of NIST SP 800-90B §4.4 over bytes of full
// entropy (H = 8), with a false alarm probability of 2^-60 per sample.
const (
	// repetitionCutoff is 1 + ceil(60/8) equal bytes in a row (§4.4.1).
	repetitionCutoff = 9
	// proportionWindow is the window for samples that are not binary (§4.4.2).
	proportionWindow = 512
	// proportionCutoff is the smallest count of the window's first byte, itself
	// included, whose probability is at most 2^-60.
	proportionCutoff = 26
	// testSamples is what a test looks at before a generator is used (§4.3).
	testSamples = 1024
)

// Tester runs the health tests over what one generator gives, and remembers that
// they have failed. One tester is for one generator: in a mixture of two, a stuck
// one may hide behind the other. It is safe for concurrent use.
type Tester struct {
	failed atomic.Pointer[failure] // for good
	sick   chan struct{}           // closed after failed was set

	mu     sync.Mutex // never held while the generator is asked
	health health
}

// failure is what was found wrong, and when.
type failure struct {
	err error
	at  time.Time
}

// NewTester returns a tester that has seen nothing yet.
func NewTester() *Tester { return &Tester{sick: make(chan struct{})} }

// Check tests what the generator has just given. Errors: [ErrGenerator], now and
// for whatever comes later; then given must not be used.
func (t *Tester) Check(given []byte) error {
	if err := t.Healthy(); err != nil {
		return err
	}
	t.mu.Lock()
	err := t.health.check(given)
	t.mu.Unlock()
	if err != nil {
		t.Condemn(err)
	}
	return t.Healthy() // also what others have found meanwhile
}

// Test draws fresh bytes from the generator, checks them and throws them away.
// Errors: [ErrGenerator], and what the generator says.
func (t *Tester) Test(ctx context.Context, generator Source) error {
	fresh := make([]byte, testSamples)
	defer clear(fresh)
	if err := generator.Random(ctx, fresh); err != nil {
		return fmt.Errorf("drawing random bytes to test the generator: %w", err)
	}
	return t.Check(fresh)
}

// Condemn is for who knows from elsewhere that the generator failed: err, which
// wraps [ErrGenerator]. Only the first failure counts.
func (t *Tester) Condemn(err error) {
	if t.failed.CompareAndSwap(nil, &failure{err, time.Now()}) {
		close(t.sick)
	}
}

// Healthy returns what was found wrong with the generator; nil so far. It never waits.
func (t *Tester) Healthy() error {
	if f := t.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// Failed is closed when something was found wrong.
func (t *Tester) Failed() <-chan struct{} { return t.sick }

// FailedAt is when that was; the zero time without it.
func (t *Tester) FailedAt() time.Time {
	if f := t.failed.Load(); f != nil {
		return f.at
	}
	return time.Time{}
}

// health runs both tests over everything that the module has given.
type health struct {
	started   bool
	last      byte
	inRow     int // how often last came in a row
	reference byte
	seen      int // bytes of the window so far; 0 before the first one
	matches   int // of them equal to reference
}

// check takes the next bytes. After an error it must not be asked again.
func (h *health) check(p []byte) error {
	for _, b := range p {
		if h.started && b == h.last {
			h.inRow++
		} else {
			h.started, h.last, h.inRow = true, b, 1
		}
		if h.inRow >= repetitionCutoff {
			return fmt.Errorf("%w: one byte came %d times in a row", ErrGenerator, h.inRow)
		}
		if h.seen == 0 {
			h.reference, h.matches = b, 0
		}
		if h.seen++; b == h.reference {
			h.matches++
		}
		if h.matches >= proportionCutoff {
			return fmt.Errorf("%w: one byte came %d times within %d", ErrGenerator, h.matches, proportionWindow)
		}
		if h.seen == proportionWindow {
			h.seen = 0
		}
	}
	return nil
}
