package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

// spell is a time during which the device serves, or does not.
type spell struct {
	err   error // why it does not; nil: it does
	since time.Time
	over  context.Context // ends when the next spell begins
	end   context.CancelFunc
}

func newSpell(err error) *spell {
	s := &spell{err: err, since: time.Now()}
	s.over, s.end = context.WithCancel(context.Background())
	return s
}

// outage returns why the device does not serve now; nil while it does.
func (d *device) outage() error { return d.spell.Load().err }

// outageError is the answer to calls during an outage. It is the outage's
// reason, but no news of the device: it must not be sorted as a fault again.
type outageError struct{ reason error }

// Error returns the reason.
func (e *outageError) Error() string { return e.reason.Error() }

// Is makes the error what the outage is for callers.
func (e *outageError) Is(target error) bool { return errors.Is(e.reason, target) }

// outageOr returns the reason of the outage, or another one when it is over already.
func (d *device) outageOr(err error) error {
	if out := d.outage(); out != nil {
		return out
	}
	return err
}

// fail begins an outage, and wakes those who wait for a session and whoever
// mends. During one the first reason stands, but for a refused PIN, which is
// the reason why it does not end.
func (d *device) fail(err error) {
	d.spells.Lock()
	defer d.spells.Unlock()
	old := d.spell.Load()
	if old.err == nil || errors.Is(err, hsm.ErrPIN) && !errors.Is(old.err, hsm.ErrPIN) {
		if errors.Is(err, hsm.ErrPIN) {
			err = fmt.Errorf("%w; it is not tried again: put the PIN right and restart the node", err)
		}
		d.spell.Store(newSpell(describe(err)))
		old.end()
		d.counts.outages.Add(1)
		d.log.Error("the module does not serve", "token", d.label, "error", err)
	}
	d.wake()
}

// serve ends an outage.
func (d *device) serve() {
	d.spells.Lock()
	defer d.spells.Unlock()
	if old := d.spell.Load(); old.err != nil {
		d.spell.Store(newSpell(nil))
		old.end()
		d.log.Info("the module serves again", "token", d.label, "after", time.Since(old.since).Round(time.Millisecond))
	}
}

// counts is what Health tells.
type counts struct {
	outages, logins, reloads             atomic.Uint64
	sessionFaults, lostFaults, devFaults atomic.Uint64
	loaded                               atomic.Int64
}

func (d *device) count(f fault) {
	switch f {
	case faultSession:
		d.counts.sessionFaults.Add(1)
	case faultLost:
		d.counts.lostFaults.Add(1)
	case faultDevice:
		d.counts.devFaults.Add(1)
	}
}

var _ hsm.Monitored = (*Module)(nil)

// Health implements [hsm.Monitored].
func (m *Module) Health() hsm.Health {
	d := m.dev
	now := d.spell.Load()
	h := hsm.Health{
		Outage: now.err, Since: now.since,
		Outages: d.counts.outages.Load(), Logins: d.counts.logins.Load(), Reloads: d.counts.reloads.Load(),
		SessionFaults: d.counts.sessionFaults.Load(), LostFaults: d.counts.lostFaults.Load(), DeviceFaults: d.counts.devFaults.Load(),
		Loaded: int(d.counts.loaded.Load()),
	}
	for _, s := range d.stays() {
		if inside := s.length(); inside > 0 {
			h.Inside++
			h.Oldest = max(h.Oldest, inside)
		}
	}
	return h
}

// Changed implements [hsm.Monitored].
func (m *Module) Changed() <-chan struct{} { return m.dev.spell.Load().over.Done() }
