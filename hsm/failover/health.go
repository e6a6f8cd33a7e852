package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
)

// spell is a time during which the pair serves, or does not.
type spell struct {
	err   error
	since time.Time
	over  chan struct{} // closed when the next one begins
}

func newSpell(err error) *spell {
	return &spell{err: err, since: time.Now(), over: make(chan struct{})}
}

// usable tells why the device cannot be asked at all; nil while it can.
func (s *standing) usable() error {
	if s.module == nil {
		return s.reason
	}
	return hsm.Outage(s.module)
}

// serves tells why the device cannot be asked for what needs roots.
func (s *standing) serves() error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.reason
}

// outage is why neither device serves. Roots that are not there yet are no outage.
func (p *Pair) outage() error {
	var all []error
	for _, m := range p.members {
		at := m.at.Load()
		err := at.usable()
		if err == nil && at.absent {
			err = at.reason // it is back, and has not proved itself yet
		}
		if err == nil && (at.reason == nil || p.roots.Load() == nil) {
			return nil
		}
		if err == nil {
			err = at.reason
		}
		all = append(all, m.says(err))
	}
	return gone(all)
}

// gone is one error for what both devices said. That one lacks the roots, or
// that its generator has failed, is no news of both while the other could not be
// asked.
func gone(all []error) error {
	failed := 0
	for _, err := range all {
		if unhealthy(err) {
			failed++
		}
	}
	if failed > 0 && failed == len(all) {
		return fmt.Errorf("%w: so it is with both HSMs of this node", entropy.ErrGenerator)
	}
	for _, kind := range []error{hsm.ErrUnavailable, hsm.ErrPIN} {
		for _, err := range all {
			if errors.Is(err, kind) {
				return fmt.Errorf("%w (%v)", kind, errors.Join(all...))
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w (%v)", hsm.ErrUnavailable, errors.Join(all...))
	}
	return errors.Join(all...)
}

// judge follows the devices' outages until the context ends.
func (p *Pair) judge(ctx context.Context) {
	var reported [2]bool
	for {
		failed := p.report(&reported)
		var changed [2]<-chan struct{}
		for i, m := range p.members {
			at := m.at.Load()
			if at.module != nil {
				changed[i] = at.module.Changed()
			}
			switch out := at.usable(); {
			case at.module == nil:
			case out != nil && !at.absent:
				reason := at.reason
				if reason == nil {
					reason = errUnproved
				}
				if m.at.CompareAndSwap(at, &standing{module: at.module, reason: reason, absent: true}) && !unhealthy(out) {
					p.log.Error("an HSM of two does not serve", "hsm", m.name, "error", out)
				}
			case out == nil && at.absent:
				wake(m.retry)
			}
		}
		// One that does not end any more is another outage.
		if now, out := p.spell.Load(), p.outage(); (now.err == nil) != (out == nil) || unhealthy(out) && !unhealthy(now.err) {
			p.spell.Store(newSpell(out))
			close(now.over)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed[0]:
		case <-changed[1]:
		case <-failed[0]:
		case <-failed[1]:
		case <-p.nudge:
		}
	}
}

// wake never waits.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Health implements [hsm.Monitored]: an outage is one of both devices; the rest
// is counted over both.
func (p *Pair) Health() hsm.Health {
	now := p.spell.Load()
	sum := hsm.Health{Outage: now.err, Since: now.since}
	for _, m := range p.Members() {
		h := m.Health
		sum.Outages += h.Outages
		sum.Logins += h.Logins
		sum.Reloads += h.Reloads
		sum.SessionFaults += h.SessionFaults
		sum.LostFaults += h.LostFaults
		sum.DeviceFaults += h.DeviceFaults
		sum.Inside += h.Inside
		sum.Oldest = max(sum.Oldest, h.Oldest)
		sum.Loaded += h.Loaded
	}
	return sum
}

// Changed implements [hsm.Monitored].
func (p *Pair) Changed() <-chan struct{} { return p.spell.Load().over }

// Members implements [hsm.Redundant].
func (p *Pair) Members() []hsm.MemberHealth {
	list := make([]hsm.MemberHealth, 0, len(p.members))
	for _, m := range p.members {
		at := m.at.Load()
		h := hsm.MemberHealth{Name: m.name, Unused: at.reason, Calls: m.calls.Load()}
		if at.module != nil {
			h.Health = at.module.Health()
		} else {
			h.Health.Outage = at.reason
		}
		list = append(list, h)
	}
	return list
}
