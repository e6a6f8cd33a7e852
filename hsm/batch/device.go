package batch

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// defaultSessions is for a configuration that says nothing.
	defaultSessions = 4
	// patience is how long a call may last before the same key may have another
	// one beside it. Below, waiting for the call costs less than a smaller batch.
	patience = 200 * time.Microsecond
	// longest bounds what one call counts for in the running average: a
	// goroutine that had to wait for a processor must not look like a slow device.
	longest = 5 * patience
	// trials is how many calls in a row find no company before only one in as
	// many looks for it: to yield costs a lone caller of SoftHSM a third more.
	trials = 16
)

// ErrClosed is the answer to who comes after Close, or waited when it came.
var ErrClosed = fmt.Errorf("%w: its queue is closed", hsm.ErrUnavailable)

// Config says what a device can do.
type Config struct {
	// MaxBlocks is the largest input of the device in blocks of 16 bytes, that
	// is [hsm.Description].MaxBlocks. 0 means that it is not known: then every
	// caller has a call of its own.
	MaxBlocks int
	// Sessions is how many calls may be in the device at once, over all its
	// keys; 0 means 4. The module should have some more, for its other work.
	Sessions int
}

// Device brings the callers of one module's keys together. It is safe for
// concurrent use.
type Device struct {
	maxBytes int
	sessions int
	requests sync.Pool     // of *request
	calls    sync.Pool     // of *call, wiped
	lone     atomic.Uint32 // calls in a row with one caller
	slow     atomic.Bool   // typical is above patience

	mu      sync.Mutex
	turns   line[*key] // the keys that somebody waits for
	inside  map[*call]struct{}
	free    int // sessions
	typical time.Duration
	stats   Stats
	closed  bool
	failed  error         // what callers are told meanwhile; nil while the device serves
	drained chan struct{} // closed when closed and all sessions are free
}

// Stats is what a device has done since it was made, and what it does now.
type Stats struct {
	Calls    uint64 // of the device
	Requests uint64 // of callers, carried by these; by Calls: the mean batch
	Blocks   uint64 // of 16 bytes in these
	Left     uint64 // callers whose context ended before their answer was there
	Waiting  int    // callers whose blocks are not in the device yet
	Sessions int    // in use now
	// Typical is how long a call in the device lasts, as a running average of
	// those that succeeded, each counted for a millisecond at most; 0 before the first.
	Typical time.Duration
}

// New returns a Device without keys.
func New(cfg Config) *Device {
	if cfg.Sessions <= 0 {
		cfg.Sessions = defaultSessions
	}
	return &Device{
		maxBytes: cfg.MaxBlocks * blockSize,
		sessions: cfg.Sessions,
		requests: sync.Pool{New: func() any { return newRequest() }},
		calls:    sync.Pool{New: func() any { return new(call) }},
		inside:   make(map[*call]struct{}),
		free:     cfg.Sessions,
		drained:  make(chan struct{}),
	}
}

// Key returns k with its calls batched. The caller of Key must not use k any
// more: the new key owns it.
func (d *Device) Key(k hsm.Key) hsm.Key {
	batched := &key{device: d, below: k}
	batched.turn.of = batched
	return batched
}

// Stats returns the counters.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Sessions, s.Typical = d.sessions-d.free, d.typical
	return s
}

// Fail tells all who wait, all who come, and those whose blocks are in another
// caller's call that the device does not serve: calls that hang inside may have
// taken every session, and never come back. Whoever is inside for the others
// comes back when the device does. With nil it serves again.
func (d *Device) Fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed = err; err == nil {
		return
	}
	d.turnAway(err)
	for c := range d.inside {
		for i, m := range c.members[1:] {
			if m.state != inside {
				continue
			}
			// Who is told takes its request along; the one in its place has left.
			c.members[i+1] = newRequest()
			c.members[i+1].src, c.members[i+1].state = c.in[:len(m.src)], left
			m.state, m.err = done, err
			m.wake <- struct{}{}
		}
	}
}

// turnAway answers all who wait. The caller holds the lock.
func (d *Device) turnAway(err error) {
	for d.turns.first != nil {
		k := d.turns.first.of
		for k.waiting.first != nil {
			r := k.waiting.first.of
			d.unqueue(k, r)
			r.state, r.err = done, err
			r.wake <- struct{}{}
		}
	}
}

// Close answers whoever waits with [ErrClosed] and waits for the calls inside
// the device, at most until ctx ends. It closes no keys. A second Close waits
// like the first.
func (d *Device) Close(ctx context.Context) error {
	d.shut()
	select {
	case <-d.drained:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for calls inside the device: %w", ctx.Err())
	}
}

func (d *Device) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	d.turnAway(ErrClosed)
	if d.free == d.sessions {
		close(d.drained)
	}
}

// serve has one request answered.
func (d *Device) serve(ctx context.Context, k *key, dst, src []byte) error {
	r := d.requests.Get().(*request)
	r.dst, r.src, r.err = dst, src, nil
	leads, err := d.join(k, r)
	if err == nil && !leads {
		if !d.wait(ctx, k, r) {
			return ctx.Err()
		}
		leads, err = r.state == leading, r.err
	}
	if leads {
		err = d.lead(ctx, k, r)
	}
	d.forget(r)
	return err
}

// wait returns true when r has been woken, and false when its caller's time was
// over before; then r must not be used any more.
func (d *Device) wait(ctx context.Context, k *key, r *request) bool {
	// A fast device has answered when the others have had their turn. To ask the
	// context for its end before that, which has it make a timer, would cost more
	// than the caller's share of the call.
	if !d.slow.Load() {
		runtime.Gosched()
	}
	select {
	case <-r.wake:
		return true
	default:
	}
	select {
	case <-r.wake:
		return true
	case <-ctx.Done():
		if d.leave(k, r) {
			return false
		}
		<-r.wake // the answer came first, or its turn
		return true
	}
}

// forget makes a request ready for the next caller.
func (d *Device) forget(r *request) {
	r.dst, r.src, r.err = nil, nil, nil
	d.requests.Put(r)
}

// join puts r in line and tells whether it leads at once.
func (d *Device) join(k *key, r *request) (leads bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false, ErrClosed
	}
	if d.failed != nil {
		return false, d.failed
	}
	d.queue(k, r, (*line[*request]).push)
	d.dispatch(r)
	return r.state == leading, nil
}

// leave takes r, whose caller's time is over, out of wherever it is; r must not
// be used any more. It returns false when r has been woken, or is about to be.
func (d *Device) leave(k *key, r *request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.state {
	case waiting:
		d.unqueue(k, r)
		d.forget(r)
	case inside:
		r.state = left // whoever is inside forgets it
	default:
		return false
	}
	d.stats.Left++
	return true
}

// lead lets others join, takes them along into the device and gives them what
// the device answers.
func (d *Device) lead(ctx context.Context, k *key, r *request) (err error) {
	if n := d.lone.Load(); n < trials || n%trials == 0 {
		runtime.Gosched()
	}
	c, err := d.take(ctx, k, r)
	if err != nil {
		return err
	}
	err = errPanic // for the others, when the key panics
	defer func() { d.finish(ctx, k, c, err) }()
	return c.encrypt(ctx, k.below)
}
