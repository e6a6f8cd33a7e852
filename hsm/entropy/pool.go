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
	"fmt"
	"sync"
)

// DrawBytes is how much is asked of the module at a time: enough for 2,048
// data keys of 32 bytes, so that a slow device is asked once in a while.
const DrawBytes = 64 << 10

// Source is the module's generator; hsm.Module is one.
type Source interface {
	Random(ctx context.Context, p []byte) error
}

// Pool hands out random bytes. It is safe for concurrent use.
type Pool struct {
	source Source

	mu     sync.Mutex
	drawn  []byte // Invariant: drawn[:next] is used up and zeroed
	next   int
	closed bool
}

// NewPool returns an empty pool; nothing is drawn before the first Read.
func NewPool(source Source) *Pool {
	return &Pool{source: source, drawn: make([]byte, DrawBytes), next: DrawBytes}
}

// Read fills p, at most DrawBytes, with bytes that nobody else gets.
func (p *Pool) Read(ctx context.Context, dst []byte) error {
	if len(dst) > DrawBytes {
		return fmt.Errorf("drawing random bytes: %d asked for, %d is the most", len(dst), DrawBytes)
	}
	// The operating system's share needs no lock; rand.Read never fails (it
	// ends the process instead).
	rand.Read(dst)

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("drawing random bytes: the pool is closed")
	}
	if len(dst) > len(p.drawn)-p.next {
		clear(p.drawn[p.next:])
		p.next = len(p.drawn)
		if err := p.source.Random(ctx, p.drawn); err != nil {
			clear(p.drawn)
			return fmt.Errorf("drawing random bytes from the module: %w", err)
		}
		p.next = 0
	}
	share := p.drawn[p.next : p.next+len(dst)]
	subtle.XORBytes(dst, dst, share)
	clear(share)
	p.next += len(dst)
	return nil
}

// Close wipes what was drawn and not used; every later Read fails.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.drawn)
	p.next = len(p.drawn)
	p.closed = true
}
