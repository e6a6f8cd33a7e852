package main

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"time"
)

const (
	// slowCall and fastCall are how long a call of the HSM lasts that lends
	// processors, and one that takes them back.
	slowCall = 200 * time.Microsecond
	fastCall = 100 * time.Microsecond
	// mostThreads bounds all of them, as a multiple of what the machine has: the
	// garbage collector takes a quarter of them while it works.
	mostThreads = 4
	// lookPause is how long a node does not look at that again.
	lookPause = time.Second
)

// processors gives Go's scheduler a processor (GOMAXPROCS) more for each call
// that may be in the HSM at once, while those calls are slow. A thread that waits
// there for the device needs none, but keeps the one that it has until the
// runtime's monitor takes it away, and that sleeps for half a millisecond at a
// time (package timerslack): with as many calls inside as there are processors
// nobody else would run. A fast device computes on the machine's own processors;
// there more threads than these would take them from each other, and callers go
// into smaller batches.
type processors struct {
	calls   int                  // that may be in the device at once
	typical func() time.Duration // how long one lasts
	logger  *slog.Logger
	lent    bool
}

// lendProcessors does that until ctx ends, where the environment names no number
// of processors and there is a device. It returns what waits for its end.
func lendProcessors(ctx context.Context, calls int, typical func() time.Duration, logger *slog.Logger) (wait func()) {
	if os.Getenv("GOMAXPROCS") != "" || calls == 0 {
		return func() {}
	}
	p := &processors{calls: calls, typical: typical, logger: logger}
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookPause)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.look()
			}
		}
	}()
	return func() { <-done }
}

// look lends processors or takes them back. Between the two limits it does neither.
func (p *processors) look() {
	switch lasts := p.typical(); {
	case !p.lent && lasts > slowCall:
		own := runtime.GOMAXPROCS(0)
		all := min(own+p.calls, mostThreads*own)
		runtime.GOMAXPROCS(all)
		p.lent = true
		p.logger.Info("calls of the HSM are slow: there are threads for them besides those that run", "call", lasts, "processors", own, "threads", all)
	case p.lent && lasts < fastCall:
		runtime.SetDefaultGOMAXPROCS() // which follows the limits of its container again
		p.lent = false
		p.logger.Info("calls of the HSM are fast again", "call", lasts, "threads", runtime.GOMAXPROCS(0))
	}
}
