package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

// admit brings a device back that was away, and asks it now and then when nobody
// uses it: that it is gone must be known before it is needed.
func (p *Pair) admit(ctx context.Context, i int) {
	for {
		p.look(ctx, i)
		select {
		case <-ctx.Done():
			return
		case <-p.members[i].retry:
		case <-time.After(p.pause):
		}
	}
}

// look brings one device back, or makes sure that it is there.
func (p *Pair) look(ctx context.Context, i int) {
	m := p.members[i]
	at := m.at.Load()
	switch {
	case at.module == nil:
		p.reopen(ctx, i, at)
	case at.usable() != nil:
	case at.absent:
		p.readmit(ctx, i, at)
	case i > 0:
		ctx, cancel := context.WithTimeout(ctx, checkWithin)
		defer cancel()
		// What is wrong the device notices itself, which is what this is for.
		_, _ = call[nothing]{do: func(ctx context.Context, _ int, module hsm.Module) (none nothing, err error) {
			if at.reason == nil {
				if err := module.Check(ctx); err != nil {
					return none, err
				}
			}
			return none, at.module.test(ctx)
		}}.inside(ctx, p, i, at.module)
	}
}

// reopen opens a device that could not be reached before, or waits for one whose
// library has hung since.
func (p *Pair) reopen(ctx context.Context, i int, at *standing) {
	m := p.members[i]
	if errors.Is(at.reason, hsm.ErrPIN) {
		return // it is not tried again: tokens lock
	}
	if m.opening == nil {
		p.begin(ctx, i)
	}
	if !m.opening.within(ctx) {
		return // the pair is closed, and closes what comes
	}
	module, err := m.opening.module, m.opening.err
	m.opening = nil
	if err != nil {
		if errors.Is(err, hsm.ErrPIN) {
			err = fmt.Errorf("%w; it is not tried again: put the PIN right and restart the node", err)
			m.at.CompareAndSwap(at, &standing{reason: err})
			p.log.Error("an HSM of two refuses its PIN", "hsm", m.name, "error", err)
		} else {
			p.log.Debug("an HSM of two cannot be opened", "hsm", m.name, "error", err)
		}
		return
	}
	opened := &standing{module: module, reason: errNoRootsYet, absent: true}
	m.at.Store(opened)
	wake(p.nudge)
	p.readmit(ctx, i, opened)
}

// readmit has a device that is back prove that its generator is well and its roots
// are those of the pair.
func (p *Pair) readmit(ctx context.Context, i int, at *standing) {
	m := p.members[i]
	if p.lock(ctx) != nil {
		return
	}
	defer p.unlock()
	// The wait for the lock, while the other device hangs, is not of its time.
	ctx, cancel := context.WithTimeout(ctx, admitWithin)
	defer cancel()
	_, reason := call[nothing]{do: func(ctx context.Context, _ int, module hsm.Module) (none nothing, err error) {
		if err := at.module.test(ctx); err != nil {
			return none, err
		}
		if r := p.roots.Load(); r != nil {
			return none, prove(ctx, module, r)
		}
		return none, errNoRootsYet
	}}.inside(ctx, p, i, at.module)
	if at.usable() != nil {
		return // away again, or out for good
	}
	if !m.at.CompareAndSwap(at, &standing{module: at.module, reason: reason, absent: reason != nil && !errors.Is(reason, hsm.ErrNoRoots)}) {
		return
	}
	wake(p.nudge)
	switch {
	case reason == nil:
		p.log.Info("an HSM of two serves again", "hsm", m.name)
	case at.reason == nil || at.reason.Error() != reason.Error():
		p.log.Error("an HSM of two is back, and cannot take over", "hsm", m.name, "error", reason)
	}
}

// prove tells why a device must not be asked; nil when it holds the roots.
func prove(ctx context.Context, module hsm.Module, r *roots) error {
	has, err := module.OpenRoots(ctx, r.cluster)
	switch {
	case errors.Is(err, hsm.ErrNoRoots):
		return lacks(0, r.current)
	case err != nil:
		return err
	case has < r.current:
		return lacks(has, r.current)
	}
	if err := r.canary.Verify(ctx, module); err != nil {
		return fmt.Errorf("%w: it is another HSM than before", err)
	}
	return nil
}
