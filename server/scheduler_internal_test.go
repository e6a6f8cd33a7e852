package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// Only the node that leads does a leader's work, at replicated time, and again
// after a pause; what failed waits longer, and a clock that cannot be believed
// does nothing.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of all below
		leads := false
		var distrust error
		k := &scheduler{
			machine: fsmtest.Bootstrapped(t).Machine, logger: slog.New(slog.DiscardHandler), now: time.Now,
			leads:   func() bool { mu.Lock(); defer mu.Unlock(); return leads },
			allowed: func() error { mu.Lock(); defer mu.Unlock(); return distrust },
		}
		var runs []time.Time
		var fails error
		j := job{name: "test", leader: true, pause: time.Second, run: func(_ context.Context, now int64) error {
			if now < fsmtest.Start { // synctest begins in the year 2000
				t.Errorf("asked for what is due at %d, before what is applied", now)
			}
			mu.Lock()
			defer mu.Unlock()
			runs = append(runs, time.Now())
			return fails
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { k.repeat(ctx, j); close(done) }()
		f := func(after time.Duration, want int) {
			t.Helper()
			mu.Lock()
			runs = nil
			mu.Unlock()
			time.Sleep(after)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(runs) != want {
				t.Errorf("%d runs in %v, want %d", len(runs), after, want)
			}
		}
		f(10*time.Second, 0)
		set := func(change func()) { mu.Lock(); defer mu.Unlock(); change() }
		set(func() { leads = true })
		f(10*time.Second, 10)
		set(func() { fails = errors.New("no module") })
		f(31*time.Second, 4)
		set(func() { fails, distrust = nil, errors.New("the clock is off") })
		f(time.Minute, 0)
		set(func() { distrust = nil })
		f(failurePause+time.Second, 2)
		cancel()
		<-done
	})
}
