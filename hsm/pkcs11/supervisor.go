package pkcs11

import (
	"context"
	"errors"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// mendPause is the time between two attempts to reach a device that is
	// away; it doubles up to mendPauseMost.
	mendPause     = 250 * time.Millisecond
	mendPauseMost = 2 * time.Second
	// examineWithin bounds the wait for a session to examine the device with.
	examineWithin = 2 * time.Second
)

// wake has the supervisor look; it never waits.
func (d *device) wake() {
	select {
	case d.nudge <- struct{}{}:
	default:
	}
}

// suspect has the supervisor examine the device: a fault of one call is no
// proof, since devices say CKR_GENERAL_ERROR for much.
func (d *device) suspect() {
	d.suspected.Store(true)
	d.wake()
}

// supervise is the one place where a device that failed is mended: alone in
// it, all sessions are given up, its library is finalised and initialised
// again, and the user logged in. Callers find or unwrap their keys again.
func (d *device) supervise() {
	for {
		select {
		case <-d.stop:
			return
		case <-d.nudge:
		}
		if d.outage() == nil && d.suspected.Swap(false) {
			d.examine()
		}
		pause := mendPause
		for attempt := 0; d.outage() != nil; attempt++ {
			err := d.mend(attempt > 0)
			if err == nil {
				d.suspected.Store(false)
				break
			}
			if errors.Is(err, hsm.ErrPIN) {
				d.fail(err)
				<-d.stop // only a person can help
				return
			}
			if errors.Is(err, errModuleClosed) {
				break
			}
			d.log.Debug("the module cannot be reached", "token", d.label, "attempt", attempt+1, "error", err)
			select {
			case <-d.stop:
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, mendPauseMost)
		}
	}
}

// examine does what a working device can do, and begins an outage if it cannot.
func (d *device) examine() {
	ctx, cancel := context.WithTimeout(context.Background(), examineWithin)
	defer cancel()
	epoch, err := d.enter(ctx, d.work, d.probe)
	switch faultOf(err) {
	case faultDevice:
		d.fail(err)
	case faultLost:
		_ = d.reconnect(ctx, epoch) // begins an outage itself
	}
}

// mend tries once to bring the device back.
func (d *device) mend(reload bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), mendPauseMost)
	defer cancel()
	if err := d.gate.Acquire(ctx, everybody); err != nil {
		return err // somebody is inside still
	}
	defer d.gate.Release(everybody)
	if d.closed || d.closing.Load() {
		return errModuleClosed
	}
	d.lone.begin()
	defer d.cameOut()
	defer d.lone.end()
	d.disconnect()
	if reload {
		reloaded, err := libraries.reload(d)
		if err != nil {
			return err
		}
		if reloaded {
			d.counts.reloads.Add(1)
		}
	}
	libraries.unpark(d)
	if err := d.comeBack(); err != nil {
		d.disconnect()
		libraries.park(d)
		return err
	}
	d.serve()
	return nil
}

// comeBack finds the token and logs in to it. The caller holds the whole gate.
func (d *device) comeBack() error {
	if err := d.findAgain(); err != nil {
		return err
	}
	if err := d.tryConnect(); err != nil {
		return err
	}
	if err := d.probe(&session{handle: d.idle, open: true}); faultOf(err) != faultNone {
		return err
	}
	return nil
}

// findAgain finds the token, which may be in another slot now.
func (d *device) findAgain() error {
	found, err := findToken(d.lib, d.cfg)
	if err != nil || found.slot == d.slot {
		return err
	}
	if err := libraries.claim(d.lib, found.slot, d.label); err != nil {
		return err
	}
	libraries.unclaim(d.lib, d.slot)
	d.slot = found.slot
	return nil
}
