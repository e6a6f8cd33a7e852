package pkcs11

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	p11 "github.com/miekg/pkcs11"
	"golang.org/x/sync/semaphore"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// objectSessions hold the loaded keys: a session object goes when the
	// session that made it goes, so these are not used for anything else.
	objectSessions = 4
	// everybody is the weight of the gate: a call holds 1 of it.
	everybody = 1 << 20
)

// device is one token and the sessions with it. Calls come in through a gate:
// each holds a share while it is inside. What changes the login of all, or ends
// it, holds the whole gate, and so happens while no call is in the device.
type device struct {
	api   cryptoki
	lib   *library
	cfg   Config
	label string
	pin   func() ([]byte, error)
	wait  time.Duration // for a session
	limit time.Duration // inside
	hung  func(error)
	log   *slog.Logger

	spell  atomic.Pointer[spell]
	spells sync.Mutex // held by who begins one
	counts counts
	lone   stay // of who is alone in the device

	progress atomic.Int64 // when a call last came out: nanoseconds of the process

	probe     func(s *session) error // what a working device can do
	suspected atomic.Bool            // a call showed a fault of the device
	nudge     chan struct{}          // wakes the supervisor
	stop      chan struct{}          // ends the goroutines below
	stopped   sync.Once
	loops     sync.WaitGroup // the supervisor and the watchdog

	gate    *semaphore.Weighted
	closing atomic.Bool   // new calls are refused
	stale   atomic.Bool   // a session that owns loaded keys showed a fault
	work    chan *session // each for one call at a time
	objects chan *session // each for one load at a time; own the loaded keys
	all     []*session    // of both

	// Invariant: the rest is read with a share of the gate, and changed with
	// all of it.

	slot      uint
	epoch     uint64            // of the login; handles of another epoch are void
	connected bool              // logged in, as far as we know
	closed    bool              // for good
	idle      p11.SessionHandle // never busy, so that the login never ends with the last session
	refusal   error             // of the PIN; there is no second try
}

// session is a place in a pool. Its session is opened when it is first used,
// and again after it was closed because of an error.
type session struct {
	handle  p11.SessionHandle
	open    bool
	stay    stay
	scratch []byte // for what must not be written to the caller before it succeeded
}

func newDevice(lib *library, slot uint, cfg Config) *device {
	d := &device{
		api: lib.api, lib: lib, cfg: cfg, slot: slot, label: cfg.TokenLabel, pin: cfg.PIN,
		wait: cfg.CallTimeout, limit: cfg.CallLimit, hung: cfg.Hung, log: cfg.Logger,
		nudge: make(chan struct{}, 1), stop: make(chan struct{}),
		gate:    semaphore.NewWeighted(everybody),
		work:    make(chan *session, cfg.Sessions),
		objects: make(chan *session, objectSessions),
	}
	for _, pool := range []chan *session{d.work, d.objects} {
		for range cap(pool) {
			s := new(session)
			d.all = append(d.all, s)
			pool <- s
		}
	}
	d.spell.Store(newSpell(nil))
	d.loops.Go(d.watch)
	return d
}

// call runs f on a session of the pool, once more when the session or the login
// was lost. f may therefore run twice, and must stand it.
func (d *device) call(ctx context.Context, pool chan *session, f func(s *session) error) error {
	for first := true; ; first = false {
		epoch, err := d.enter(ctx, pool, f)
		fault := faultOf(err)
		if !errors.Is(err, errNotConnected) {
			d.count(fault)
		}
		if fault == faultDevice || fault != faultNone && !first {
			d.suspect()
		}
		if !first || fault != faultSession && fault != faultLost {
			return describe(err)
		}
		if fault == faultLost {
			if !errors.Is(err, errNotConnected) {
				d.log.Warn("the module lost its sessions or objects", "token", d.label, "error", err)
			}
			if err := d.reconnect(ctx, epoch); err != nil {
				return err
			}
		}
	}
}

func (d *device) enter(ctx context.Context, pool chan *session, f func(s *session) error) (epoch uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := d.outage(); err != nil {
		return 0, &outageError{err}
	}
	if err := d.acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer d.gate.Release(1)
	if d.closed {
		return 0, errModuleClosed
	}
	if !d.connected || d.stale.Load() {
		return d.epoch, errNotConnected
	}
	return d.epoch, d.on(ctx, pool, f)
}

// on runs f on a session of the pool for a caller that has passed the gate. One
// that holds a session of work may take one of objects, never the reverse.
func (d *device) on(ctx context.Context, pool chan *session, f func(s *session) error) error {
	s, err := d.take(ctx, pool)
	if err != nil {
		return err
	}
	s.stay.begin()
	keep := false // also when f panics
	defer func() {
		switch {
		case keep:
		case pool == d.objects:
			// To close it now would free the handles of its keys for others
			// while calls with them are under way: a device that gives such a
			// handle out again would encrypt under the wrong key. So everything
			// is made anew, at a moment when no call is inside.
			d.stale.Store(true)
		default:
			d.discard(s)
		}
		s.stay.end()
		d.cameOut()
		pool <- s
	}()
	if !s.open {
		if s.handle, err = d.openSession(); err != nil {
			return err
		}
		s.open = true
	}
	err = f(s)
	keep = faultOf(err) == faultNone
	return err
}

func (d *device) take(ctx context.Context, pool chan *session) (*session, error) {
	select {
	case s := <-pool:
		return s, nil
	default:
	}
	now := d.spell.Load()
	if now.err != nil {
		return nil, &outageError{now.err}
	}
	timeout := time.NewTimer(d.wait)
	defer timeout.Stop()
	select {
	case s := <-pool:
		return s, nil
	case <-now.over.Done():
		return nil, &outageError{d.outageOr(errSessionsLost)}
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timeout.C:
		return nil, fmt.Errorf("%w: no session became free within %v", hsm.ErrUnavailable, d.wait)
	}
}

// acquire takes a part of the gate, while the device serves.
func (d *device) acquire(ctx context.Context, weight int64) error {
	if d.closing.Load() {
		return errModuleClosed
	}
	if d.gate.TryAcquire(weight) {
		return nil
	}
	now := d.spell.Load()
	if now.err != nil {
		return &outageError{now.err}
	}
	waiting, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	defer context.AfterFunc(now.over, cancel)()
	err := d.acquireAnyway(waiting, weight)
	switch {
	case err == nil, ctx.Err() != nil:
		return cmp.Or(err, ctx.Err())
	case d.outage() != nil:
		return &outageError{d.outage()}
	}
	return d.busy()
}

func (d *device) acquireAnyway(ctx context.Context, weight int64) error {
	waiting, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	if d.gate.Acquire(waiting, weight) == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.busy()
}

func (d *device) busy() error {
	return fmt.Errorf("%w: calls have been inside the device for %v", hsm.ErrUnavailable, d.wait)
}

// alone runs f while no call is inside the device.
func (d *device) alone(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.outage(); err != nil {
		return &outageError{err}
	}
	if err := d.acquire(ctx, everybody); err != nil {
		return err
	}
	defer d.gate.Release(everybody)
	if d.closed {
		return errModuleClosed
	}
	d.lone.begin()
	defer d.cameOut()
	defer d.lone.end()
	return f()
}

// callAlone is call on the idle session while no other call is inside the
// device, for what would pull handles away from under others.
func (d *device) callAlone(ctx context.Context, f func(s *session) error) error {
	return d.alone(ctx, func() error {
		for first := true; ; first = false {
			err := errNotConnected
			if d.connected {
				err = f(&session{handle: d.idle, open: true})
			}
			fault := faultOf(err)
			if fault == faultNone {
				return err
			}
			if cerr := d.connect(); cerr != nil { // the idle session must be in order
				return errors.Join(describe(err), cerr)
			}
			if !first || fault == faultDevice {
				return describe(err)
			}
		}
	})
}

// close ends all sessions and gives the library back once no call is inside. A
// device that keeps a call for longer than the call timeout keeps its library
// too; then left tells that the call is inside still. So it is with a call that
// close itself makes; when it comes back the rest is done.
func (d *device) close() (left bool, err error) {
	d.closing.Store(true)
	d.stopped.Do(func() { close(d.stop) })
	if err := d.acquireAnyway(context.Background(), everybody); err != nil {
		return true, fmt.Errorf("closing the module: %w", err)
	}
	d.loops.Wait() // the supervisor has left the device, or it would hold the gate
	if d.closed {
		d.gate.Release(everybody)
		return false, nil
	}
	d.closed = true
	left, err = d.lib.inLimit(d.limit, func(in func(name string)) error {
		defer d.gate.Release(everybody)
		in("C_CloseSession")
		d.disconnect()
		in("C_Finalize")
		libraries.unpark(d)
		libraries.unclaim(d.lib, d.slot)
		return libraries.release(d.lib)
	})
	if left {
		err = fmt.Errorf("closing the module: %w", err)
	}
	return left, err
}

func (d *device) openSession() (p11.SessionHandle, error) {
	// All sessions are read/write: a read-only one would forbid the login of
	// the security officer, and some calls make token objects.
	h, err := d.api.OpenSession(d.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	if err != nil {
		return 0, fmt.Errorf("opening a session: %w", err)
	}
	return h, nil
}

// discard closes a session that has shown a fault. What the device says to that
// makes no difference: the session is not used again.
func (d *device) discard(s *session) {
	if s.open {
		_ = d.api.CloseSession(s.handle)
	}
	s.open = false
}
