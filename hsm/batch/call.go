package batch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

var errPanic = errors.New("the key panicked in another caller's call")

// call is one call of the device with the requests that it carries. Its
// buffers are wiped whenever it is not inside.
type call struct {
	members []*request // the first leads
	in, out []byte     // of all members, when there is more than one
	began   time.Time
	took    time.Duration
}

// take makes a call of r and of those who wait for the same key, as many as go
// into one. The error is for r alone, whose session is given back.
func (d *Device) take(ctx context.Context, k *key, r *request) (*call, error) {
	c := d.calls.Get().(*call)
	d.mu.Lock()
	defer d.mu.Unlock()
	err := ctx.Err()
	switch {
	case d.closed:
		err = ErrClosed
	case err != nil:
		d.stats.Left++
	}
	if err != nil {
		d.release(k)
		d.calls.Put(c)
		return nil, err
	}
	k.forming = false
	size := len(r.src)
	c.members = append(c.members, r)
	for p := k.waiting.first; p != nil && size+len(p.of.src) <= d.maxBytes; p = k.waiting.first {
		m := p.of
		d.unqueue(k, m)
		m.state = inside
		size += len(m.src)
		c.members = append(c.members, m)
	}
	if len(c.members) > 1 {
		// Under the lock: a member may leave as soon as it is free, and its
		// memory goes with it.
		c.fill(size)
		d.lone.Store(0)
	} else {
		d.lone.Add(1)
	}
	d.inside[c] = struct{}{}
	c.began = time.Now()
	k.began = c.began
	d.stats.Calls++
	d.stats.Requests += uint64(len(c.members))
	d.stats.Blocks += uint64(size / blockSize)
	if k.waiting.length > 0 {
		d.dispatch(nil)
	}
	return c, nil
}

func (c *call) fill(size int) {
	c.in = slices.Grow(c.in[:0], size)
	c.out = slices.Grow(c.out[:0], size)[:size]
	for _, m := range c.members {
		c.in = append(c.in, m.src...)
	}
}

// encrypt is inside the device for as long as it lasts. A caller without
// company needs no copies: its call is what it would be without a batch.
func (c *call) encrypt(ctx context.Context, k hsm.Key) (err error) {
	if len(c.members) == 1 {
		err = k.EncryptBlocks(ctx, c.members[0].dst, c.members[0].src)
	} else {
		err = k.EncryptBlocks(ctx, c.out, c.in)
	}
	c.took = time.Since(c.began)
	return err
}

// finish gives the members of c their answer, and the session to whose turn it
// is. Who leads is answered by its return.
func (d *Device) finish(ctx context.Context, k *key, c *call, err error) {
	d.settle(k, c, err, err != nil && ctx.Err() != nil)
	clear(c.in)
	clear(c.out)
	for _, m := range c.members[1:] {
		if m != nil {
			m.wake <- struct{}{}
		}
	}
	clear(c.members)
	c.members, c.in, c.out = c.members[:0], c.in[:0], c.out[:0]
	d.calls.Put(c)
}

// settle sets what the members get and leaves those in c that must be told.
// With again they are to go again, in the same order: the one who led took the
// end of its own context into the device.
func (d *Device) settle(k *key, c *call, err error, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inside, c)
	switch {
	case err == nil:
		d.typical += (min(c.took, longest) - d.typical) / 8
		d.slow.Store(d.typical > patience)
		c.copyOut()
	case again:
		d.stats.Left++
	}
	for i := len(c.members) - 1; i > 0; i-- {
		switch m := c.members[i]; {
		case m.state == left:
			d.forget(m)
			c.members[i] = nil
		case again:
			d.queue(k, m, (*line[*request]).pushFirst)
			c.members[i] = nil
		default:
			m.state, m.err = done, err
		}
	}
	d.giveBack(k)
}

// copyOut gives the members their blocks, except those that have left: their
// memory is somebody else's by now.
func (c *call) copyOut() {
	if len(c.members) == 1 {
		return
	}
	at := 0
	for _, m := range c.members {
		if m.state != left {
			copy(m.dst, c.out[at:])
		}
		at += len(m.src)
	}
}
