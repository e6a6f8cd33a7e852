package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/raftkms/raftkms/hsm"
)

// answer is what came back from the library.
type answer[T any] struct {
	v   T
	err error
}

// inTime runs f, which calls the library before a device with a watchdog is
// there, and waits no longer than the limit of opening. A library may hang in its
// first call, and a call in C cannot be ended: the goroutine is then left in it,
// for no other reason than that, and undo takes what comes when nobody waits for
// it any more. Who is told that it hangs ends the process, or lets it be.
func inTime[T any](ctx context.Context, cfg Config, f func(ctx context.Context) (T, error), undo func(T)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if cfg.OpenLimit < 0 {
		return f(ctx)
	}
	within, cancel := context.WithTimeout(ctx, cfg.OpenLimit)
	defer cancel()
	answered := make(chan answer[T], 1)
	var settled atomic.Bool // by the answer, or by the caller who goes
	go func() {
		switch v, err := f(within); {
		case settled.CompareAndSwap(false, true):
			answered <- answer[T]{v, err}
		case err == nil:
			undo(v)
		}
	}()
	select {
	case a := <-answered:
		return a.v, overdue(ctx, cfg, a.err)
	case <-within.Done():
	}
	if settled.CompareAndSwap(false, true) {
		return none, overdue(ctx, cfg, within.Err())
	}
	a := <-answered // it came in the same moment
	return a.v, overdue(ctx, cfg, a.err)
}

// overdue says what it means that the limit of opening is over and the caller's
// own time is not.
func overdue(ctx context.Context, cfg Config, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: the PKCS#11 library %s was asked to open the token %q and has not done so within %v; "+
		"check that the HSM is on and can be reached from this machine, and what the library's own configuration and log say",
		hsm.ErrUnavailable, cfg.Library, cfg.TokenLabel, cfg.OpenLimit)
}
