package server

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadlineEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(d *deadline, stop context.CancelFunc)
		want error
	}{
		"in time":         {func(*deadline, context.CancelFunc) { time.Sleep(2 * time.Second) }, context.DeadlineExceeded},
		"with its parent": {func(_ *deadline, stop context.CancelFunc) { stop() }, context.Canceled},
		"when finished":   {func(d *deadline, _ context.CancelFunc) { d.finish() }, context.Canceled},
	} {
		for _, when := range []string{"asked before", "asked after"} {
			t.Run(name+", "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, stop := context.WithCancel(t.Context())
					defer stop()
					d := newDeadline(parent, time.Now().Add(time.Second))
					if err := d.Err(); err != nil {
						t.Fatalf("over at once: %v", err)
					}
					if when == "asked before" {
						select {
						case <-d.Done():
							t.Fatal("done at once")
						default:
						}
					}
					c.end(d, stop)
					if err := d.Err(); !errors.Is(err, c.want) {
						t.Errorf("Err = %v, want %v", err, c.want)
					}
					<-d.Done() // blocks for ever when it does not end, which synctest reports
					if err := d.Err(); !errors.Is(err, c.want) {
						t.Errorf("Err after Done = %v, want %v", err, c.want)
					}
					d.finish()
				})
			})
		}
	}
}

func TestContextsOfADeadline(t *testing.T) {
	d := newDeadline(t.Context(), time.Now().Add(time.Hour))
	before := runtime.NumGoroutine()
	child, cancel := context.WithTimeout(d, time.Minute)
	defer cancel()
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("a derived context costs %d goroutines", now-before)
	}
	d.finish()
	if <-child.Done(); !errors.Is(child.Err(), context.Canceled) {
		t.Errorf("a derived context ends with %v", child.Err())
	}
}

func TestDeadlineCostsOneAllocation(t *testing.T) {
	parent := t.Context()
	var d *deadline
	if n := testing.AllocsPerRun(1000, func() {
		d = newDeadline(parent, time.Now().Add(time.Second))
		if d.Err() != nil {
			t.Fatal("over at once")
		}
		d.finish()
	}); n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}
