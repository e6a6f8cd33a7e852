package kms

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/raftkms/raftkms/hsm"
)

// An RSA pair is the most expensive thing that a caller can ask a device for.
// So the wrapping pairs of imports are made ahead of need, one after another
// and never more than so many a second, whoever asks for how many. They lie
// here wrapped, as they will be replicated.
const (
	pairsReady     = 4
	pairsPerSecond = 2
	pairsAtOnce    = 8  // after a quiet while
	pairsAwaited   = 64 // callers who may wait for one

	// pairPause is how long the pool waits after a failure of the module. Who
	// asks meanwhile is told of the failure.
	pairPause = time.Second
)

// pairPool makes wrapping pairs. It begins with the first need: a node on which
// nobody imports makes none. It ends with close.
type pairPool struct {
	generate func(context.Context) (hsm.Wrapped, error)
	limit    *rate.Limiter
	ready    chan hsm.Wrapped
	failed   chan error // told to whoever waits
	waiting  atomic.Int32

	begin sync.Once
	ctx   context.Context // ends with the pool
	stop  context.CancelFunc
	done  chan struct{} // the filling has ended
}

func newPairPool(generate func(context.Context) (hsm.Wrapped, error)) *pairPool {
	p := &pairPool{
		generate: generate, limit: rate.NewLimiter(pairsPerSecond, pairsAtOnce),
		ready: make(chan hsm.Wrapped, pairsReady-1), failed: make(chan error), done: make(chan struct{}),
	}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p
}

// expect has pairs made: one will be needed soon.
func (p *pairPool) expect() { p.begin.Do(func() { go p.fill() }) }

// close ends the pool. Who waits is told that the node stops.
func (p *pairPool) close() {
	p.begin.Do(func() { close(p.done) })
	p.stop()
	<-p.done
}

// take returns a pair of a root generation that nobody else gets.
func (p *pairPool) take(ctx context.Context, generation uint32) (hsm.Wrapped, error) {
	p.expect()
	if p.waiting.Add(1) > pairsAwaited {
		p.waiting.Add(-1)
		return hsm.Wrapped{}, Refuse(KindUnavailable, "too many wait for parameters of an import on this node; try again later")
	}
	defer p.waiting.Add(-1)
	for {
		select {
		case pair := <-p.ready:
			if uint32(pair.Generation) == generation { // else the roots were changed since
				return pair, nil
			}
		case err := <-p.failed:
			return hsm.Wrapped{}, moduleError("making a wrapping pair in the module", err)
		case <-ctx.Done():
			return hsm.Wrapped{}, moduleError("waiting for a wrapping pair", ctx.Err())
		case <-p.done:
			return hsm.Wrapped{}, Refuse(KindUnavailable, "this node is stopping")
		}
	}
}

// fill keeps pairs ready until the pool ends.
func (p *pairPool) fill() {
	defer close(p.done)
	for p.limit.Wait(p.ctx) == nil {
		pair, err := p.generate(p.ctx)
		if err != nil {
			p.tell(err)
			continue
		}
		select {
		case p.ready <- pair:
		case <-p.ctx.Done():
			return
		}
	}
}

// tell tells everybody who asks within a pause of a failure.
func (p *pairPool) tell(err error) {
	pause := time.NewTimer(pairPause)
	defer pause.Stop()
	for {
		select {
		case p.failed <- err:
		case <-pause.C:
			return
		case <-p.ctx.Done():
			return
		}
	}
}
