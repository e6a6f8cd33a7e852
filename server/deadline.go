package server

import (
	"context"
	"sync"
	"time"
)

// deadline is the context of one request: it ends at a time, or with its parent.
// Most calls never wait for anything that asks for Done, so the timer and the
// place in the parent's list, which cost more than the rest of a context, are
// made when somebody does. finish ends it.
type deadline struct {
	parent context.Context
	at     time.Time

	mu     sync.Mutex
	armed  context.Context // nil until somebody waits
	cancel context.CancelFunc
	over   bool
}

func newDeadline(parent context.Context, at time.Time) *deadline {
	return &deadline{parent: parent, at: at}
}

// Deadline implements [context.Context].
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements [context.Context].
func (d *deadline) Done() <-chan struct{} { return d.arm().Done() }

// Err implements [context.Context].
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.armed != nil:
		return d.armed.Err()
	case d.over:
		return context.Canceled
	case d.parent.Err() != nil:
		return d.parent.Err()
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements [context.Context]. Once it is armed the context package finds
// its own kind of context here, and derives others from it without a goroutine.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed != nil {
		return d.armed.Value(key)
	}
	return d.parent.Value(key)
}

func (d *deadline) arm() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.armed == nil {
		d.armed, d.cancel = context.WithDeadline(d.parent, d.at)
		if d.over {
			d.cancel()
		}
	}
	return d.armed
}

// finish ends the context for whoever still holds it.
func (d *deadline) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}
