// Package entropy makes the bytes of data keys: the module's generator, drawn
// in bulk, XORed with the operating system's at the moment of use. The
// module's share keeps a promise of hardware randomness; the operating
// system's keeps a cloned or restored machine, whose pool is a copy, from ever
// repeating a data key.
package entropy

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// DrawBytes is how much is asked of the module at a time: enough for 2,048
// data keys of 32 bytes, so that a slow device is asked once in a while.
const DrawBytes = 64 << 10

// Source is the module's generator; hsm.Module is one. One that tests what it
// gives itself, as a pair of devices does for each of them, fails for good with
// [ErrGenerator].
type Source interface {
	Random(ctx context.Context, p []byte) error
}

// Pool hands out random bytes. It is safe for concurrent use.
type Pool struct {
	source Source
	tester *Tester
	closed atomic.Bool

	// turn has room for who holds the rest. It is no mutex, since a device may
	// keep whoever refills, and the others have deadlines.
	turn  chan struct{}
	drawn []byte // Invariant: drawn[:next] is used up and zeroed
	next  int
}

// NewPool returns an empty pool; nothing is drawn before the first Read.
func NewPool(source Source) *Pool {
	return &Pool{source: source, tester: NewTester(), turn: make(chan struct{}, 1), drawn: make([]byte, DrawBytes), next: DrawBytes}
}

// Read fills dst, at most [DrawBytes], with bytes that nobody else gets: the
// module's XORed with the operating system's. Errors: [ErrGenerator], and what
// the module says.
func (p *Pool) Read(ctx context.Context, dst []byte) error {
	return p.take(ctx, dst, func(share []byte) {
		rand.Read(dst) // never fails: it ends the process instead
		subtle.XORBytes(dst, dst, share)
	})
}

// Draw is [Pool.Read] with the module's own bytes as they are.
func (p *Pool) Draw(ctx context.Context, dst []byte) error {
	return p.take(ctx, dst, func(share []byte) { copy(dst, share) })
}

// Healthy returns what the health tests found wrong with the generator. It
// never waits.
func (p *Pool) Healthy() error { return p.tester.Healthy() }

// Failed is closed when the health tests have found something wrong.
func (p *Pool) Failed() <-chan struct{} { return p.tester.Failed() }

// Condemn is [Tester.Condemn], for what the source says of its generator before
// anybody draws from it.
func (p *Pool) Condemn(err error) { p.tester.Condemn(err) }

// Test looks at fresh bytes of the generator, whatever lies ready, and throws
// them away. It is for who has the module make something out of bytes that
// never come through the pool. Errors: [ErrGenerator], and what the module says.
func (p *Pool) Test(ctx context.Context) error {
	return p.inTurn(ctx, func() error {
		fresh := make([]byte, testSamples)
		defer clear(fresh)
		return p.draw(ctx, fresh)
	})
}

// take hands the module's share of dst to use and wipes it.
func (p *Pool) take(ctx context.Context, dst []byte, use func(share []byte)) error {
	if len(dst) > DrawBytes {
		return fmt.Errorf("drawing random bytes: %d asked for, %d is the most", len(dst), DrawBytes)
	}
	return p.inTurn(ctx, func() error {
		if len(dst) > len(p.drawn)-p.next {
			if err := p.refill(ctx); err != nil {
				return err
			}
		}
		share := p.drawn[p.next : p.next+len(dst)]
		use(share)
		clear(share)
		p.next += len(dst)
		return nil
	})
}

// inTurn has do work with the rest, unless the pool is of no use any more.
func (p *Pool) inTurn(ctx context.Context, do func() error) error {
	select {
	case p.turn <- struct{}{}:
	default:
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("drawing random bytes: %w", ctx.Err())
		}
	}
	defer func() { <-p.turn }()
	if p.closed.Load() {
		return errors.New("drawing random bytes: the pool is closed")
	}
	if err := p.Healthy(); err != nil {
		return err
	}
	return do()
}

// refill makes the pool full of what nobody was given.
func (p *Pool) refill(ctx context.Context) error {
	clear(p.drawn)
	p.next = len(p.drawn)
	if err := p.draw(ctx, p.drawn); err != nil {
		clear(p.drawn)
		return err
	}
	p.next = 0
	return nil
}

// draw fills fresh from the module and tests it. What comes beside an error must
// not be used.
func (p *Pool) draw(ctx context.Context, fresh []byte) error {
	if err := p.source.Random(ctx, fresh); err != nil {
		if errors.Is(err, ErrGenerator) { // it has tested itself
			p.tester.Condemn(err)
		}
		return fmt.Errorf("drawing random bytes from the module: %w", err)
	}
	return p.tester.Check(fresh)
}

// closePatience is how long Close waits for who draws.
const closePatience = 2 * time.Second

// Close wipes what was drawn and not used; every later Read fails. Where a
// device keeps whoever draws, there is nothing to wipe.
func (p *Pool) Close() {
	p.closed.Store(true)
	select {
	case p.turn <- struct{}{}:
	case <-time.After(closePatience):
		return
	}
	defer func() { <-p.turn }()
	clear(p.drawn)
	p.next = len(p.drawn)
}
