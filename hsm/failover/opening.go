package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

// attempt is one opening of a device. Its library may hang for as long as it
// likes, and a call in C cannot be ended: so nobody waits for it who has something
// else to do, and it is not called again before it has come back.
type attempt struct {
	done   chan struct{} // closed when the rest is known
	module *tested
	err    error
}

// begin has a goroutine of its own open the device and test its generator. It ends
// when the library lets go of it, and Close waits for it as for a call.
func (p *Pair) begin(ctx context.Context, i int) {
	a := &attempt{done: make(chan struct{})}
	p.members[i].opening = a
	go func() {
		defer close(a.done)
		module, err := p.members[i].open(ctx)
		if err != nil {
			a.err = err
			return
		}
		a.module = newTested(module)
		// Whatever else is said of it here: before it is believed it is tested again.
		_, _ = call[nothing]{do: func(ctx context.Context, _ int, _ hsm.Module) (none nothing, err error) {
			return none, a.module.test(ctx)
		}}.inside(ctx, p, i, a.module)
	}()
}

// gather takes in what was opened, and waits for it no longer than the limit. It
// is an error when none came, and when one said what no waiting will mend.
func (p *Pair) gather(ctx context.Context, limit time.Duration) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var failed []error
	refused := false
	for _, m := range p.members {
		err := fmt.Errorf("%w: it has not been opened within %v; check that it is on and can be reached from this machine, "+
			"and what its library's own configuration and log say", hsm.ErrUnavailable, limit)
		if m.opening.within(within) {
			module, oerr := m.opening.module, m.opening.err
			m.opening = nil
			if oerr == nil {
				m.at.Store(&standing{module: module, reason: errNoRootsYet})
				continue
			}
			err = oerr
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = m.says(err)
		failed = append(failed, err)
		refused = refused || errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrUnsupported)
		m.at.Store(&standing{reason: fmt.Errorf("%w: %v", hsm.ErrUnavailable, err)})
	}
	if refused || len(failed) == len(p.members) {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		p.log.Error("a node with two HSMs starts with one, and uses the other once it is there", "error", err)
	}
	return nil
}

// within waits for the attempt until ctx ends. What is there already counts also then.
func (a *attempt) within(ctx context.Context) bool {
	select {
	case <-a.done:
		return true
	default:
	}
	select {
	case <-a.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// closeLate closes what nobody has taken in, when it comes. The pair's loops have
// ended, or have not begun.
func (p *Pair) closeLate() error {
	var errs []error
	for _, m := range p.members {
		if m.opening == nil {
			continue
		}
		<-m.opening.done
		if m.opening.err != nil {
			continue
		}
		if err := m.opening.module.Close(); err != nil {
			errs = append(errs, m.says(err))
		}
	}
	return errors.Join(errs...)
}
