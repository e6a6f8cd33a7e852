package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/raftkms/raftkms/hsm"
)

var errPairClosed = errors.New("the module is closed")

// elsewhere tells whether the other device may do what one could not.
func elsewhere(err error) bool {
	return errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrNoRoots) || unhealthy(err)
}

// call is one call of the module, which a device may be given after the other:
// it changes nothing, or makes what nobody knows of. rootless is for what needs
// no roots. dispose takes what comes when nobody waits for it any more; nil where
// that is of no worth. undoes is for what takes back by itself what it made with a
// generator that fails: it is waited for.
type call[T any] struct {
	rootless bool
	undoes   bool
	do       func(ctx context.Context, i int, module hsm.Module) (T, error)
	dispose  func(T)
}

// on has the first device do it that can.
func (c call[T]) on(ctx context.Context, p *Pair) (T, error) {
	var none T
	var failed []error
	for i, m := range p.members {
		at := m.at.Load()
		err := at.serves()
		if c.rootless {
			err = at.usable()
		}
		if err == nil {
			m.calls.Add(1)
			var v T
			if v, err = c.inside(ctx, p, i, at.module); err == nil || !elsewhere(err) {
				return v, err
			}
			if ctx.Err() != nil {
				return none, err
			}
		}
		failed = append(failed, m.says(err))
	}
	return none, gone(failed)
}

// answer is what came out of a device.
type answer[T any] struct {
	v   T
	err error
}

// inside is in the device until it has answered, the caller's time is over, or
// the device counts as gone. A call in C cannot be ended: it is left there, and
// so must use nothing of the caller's.
func (c call[T]) inside(ctx context.Context, p *Pair, i int, module *tested) (T, error) {
	device, is := module.Module.(hsm.Monitored)
	if !is {
		v, err := c.do(ctx, i, module)
		return c.believed(module, v, err)
	}
	var none T
	changed := device.Changed()
	if out := hsm.Outage(module); out != nil {
		return none, out
	}
	leave, err := p.enter()
	if err != nil {
		return none, err
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := module.generator.Failed()
	if c.undoes {
		failed = nil
	}
	answered := make(chan answer[T], 1)
	var settled atomic.Bool // by the answer, or by the caller who goes
	go func() {
		defer leave()
		switch v, err := c.guarded(within, p, i, module); {
		case settled.CompareAndSwap(false, true):
			answered <- answer[T]{v, err}
		case err == nil && c.dispose != nil:
			c.dispose(v)
		}
	}()
	select {
	case a := <-answered:
		return c.believed(module, a.v, a.err)
	case <-ctx.Done():
		err = ctx.Err()
	case <-changed:
		if err = hsm.Outage(module); err == nil {
			err = fmt.Errorf("%w: it was away for a moment", hsm.ErrUnavailable)
		}
	case <-failed:
		err = module.generator.Healthy()
	}
	if settled.CompareAndSwap(false, true) {
		return none, err
	}
	a := <-answered // it came in the same moment
	return c.believed(module, a.v, a.err)
}

// believed is what came out of a device, unless its generator is known by now to
// have failed: then it was made with that.
func (c call[T]) believed(module *tested, v T, err error) (T, error) {
	sick := module.generator.Healthy()
	if sick == nil {
		return v, err
	}
	if err == nil && c.dispose != nil {
		c.dispose(v)
	}
	if unhealthy(err) {
		sick = err // which says what is left in the device
	}
	var none T
	return none, sick
}

// guarded is do for a goroutine of its own, where nobody else would catch a panic:
// it would end the process, for one call.
func (c call[T]) guarded(ctx context.Context, p *Pair, i int, module *tested) (v T, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			// The stack names functions and lines; the cause may quote input, so
			// only its type is logged.
			p.log.Error("a call of an HSM panicked", "hsm", p.members[i].name, "cause", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
			err = fmt.Errorf("the %s HSM: the call panicked (%T); the log has the stack", p.members[i].name, cause)
		}
	}()
	return c.do(ctx, i, module)
}

// copies are a secret of the caller's, one for each device: one that hangs has its
// own in hand when the caller wipes the secret.
type copies struct {
	of    [2][]byte
	taken [2]atomic.Bool
}

func copiesOf(secret []byte) *copies {
	c := new(copies)
	for i := range c.of {
		c.of[i] = bytes.Clone(secret)
	}
	return c
}

// lend gives a device its copy, and wipes it afterwards.
func lend[T any](c *copies, i int, do func(secret []byte) (T, error)) (v T, err error) {
	if !c.taken[i].CompareAndSwap(false, true) {
		return v, hsm.ErrUnavailable // the caller has gone
	}
	defer clear(c.of[i])
	return do(c.of[i])
}

// wipe wipes what no device has got.
func (c *copies) wipe() {
	for i := range c.of {
		if c.taken[i].CompareAndSwap(false, true) {
			clear(c.of[i])
		}
	}
}

// enter counts a call in, until leave is called.
func (p *Pair) enter() (leave func(), err error) {
	p.ending.RLock()
	defer p.ending.RUnlock()
	if p.ended {
		return nil, errPairClosed
	}
	p.calls.Add(1)
	return p.calls.Done, nil
}
