package cluster

import (
	"context"
	"sync"
)

// rounds lets many callers share the runs of something that yields an index.
type rounds struct {
	run   func() (uint64, error)
	begin func() (done func(), ok bool)

	mu      sync.Mutex
	running bool
	ended   uint64 // runs that succeeded
	next    *round // those who wait for the round after the one that runs
}

type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// join waits for a round that begins after the call.
func (r *rounds) join(ctx context.Context) (uint64, error) {
	r.mu.Lock()
	if !r.running {
		done, ok := r.begin()
		if !ok {
			r.mu.Unlock()
			return 0, ErrStopped
		}
		r.running = true
		go func() {
			defer done()
			r.loop()
		}()
	}
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	r.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// loop runs rounds until nobody waits.
func (r *rounds) loop() {
	for {
		r.mu.Lock()
		this := r.next
		r.next = nil
		if this == nil {
			r.running = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		this.index, this.err = r.run()
		if this.err == nil {
			r.mu.Lock()
			r.ended++
			r.mu.Unlock()
		}
		close(this.done)
	}
}

// count returns how many rounds have succeeded.
func (r *rounds) count() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}
