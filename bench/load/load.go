// Package load drives a service with a number of workers and measures what they saw, in one of two ways:
//
// In a closed loop each worker sends its next call when the last one is answered: that measures the service's
// capacity, not the waiting time of its users, for a slow service keeps calls from being sent.
//
// In an open loop ([Config.Rate]) calls arrive at a constant rate at times that are fixed beforehand, whatever the
// service does, and a latency counts from the time at which the call should have started. A call that found all
// workers busy has waited for the service, and its wait is in its latency (no coordinated omission). The workers
// bound what is in flight. What the generator itself was late by is measured beside it, so that one is not taken for
// the other.
//
// What it promises: every call of the measured time is counted exactly once, as a success or as an error of a kind;
// every call that was planned and could not be sent in time is counted as unsent.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxRate is the highest rate of an open loop, in calls per second.
const MaxRate = 1e6

// Call does one call as one of the workers, counted from 0. It is called by
// that worker alone.
type Call func(ctx context.Context, worker int) error

// Config says how hard and how long.
type Config struct {
	Workers  int           // concurrent calls; at least 1
	Warmup   time.Duration // calls before the measured time; may be 0
	Duration time.Duration // the measured time
	// Rate is the calls per second of an open loop, at most MaxRate; 0: a closed loop.
	Rate float64
	// NodeOf names the node that a worker calls, for the report; nil: there is but one.
	NodeOf func(worker int) string
	// Progress is told of the run about every Interval (0: 1 s), from one
	// goroutine; nil: nobody.
	Progress func(Progress)
	Interval time.Duration
	// Sleep waits for a call's time in an open loop; nil: with the operating
	// system's timer, which is more exact than [time.Sleep].
	Sleep func(time.Duration)
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed time.Duration // of the measured time
	Of      time.Duration // the whole of it
	Calls   uint64        // successes so far
	Errors  uint64
	Rate    float64 // successes per second since the last report
}

// Run drives call until the duration is over or ctx ends, and reports what was
// measured so far in both cases. Errors of calls are counted, not returned.
func Run(ctx context.Context, cfg Config, call Call) (*Report, error) {
	if cfg.Workers < 1 || cfg.Duration <= 0 || cfg.Warmup < 0 {
		return nil, errors.New("a load run needs at least one worker and a duration")
	}
	if !(cfg.Rate >= 0 && cfg.Rate <= MaxRate) { // NaN is refused as well
		return nil, fmt.Errorf("the rate of a load run is %v calls per second, which must be from 0 (as many as the service answers) to %.0f", cfg.Rate, MaxRate)
	}
	if cfg.Rate > 0 && cfg.Rate*cfg.Duration.Seconds() < 1 {
		return nil, fmt.Errorf("not one call falls into %s at a rate of %v calls per second", cfg.Duration, cfg.Rate)
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	r := &run{cfg: cfg, call: call, workers: make([]worker, cfg.Workers)}
	if cfg.Rate > 0 && cfg.Sleep == nil {
		timer, err := newTimer()
		if err != nil {
			return nil, err
		}
		defer timer.close()
		r.cfg.Sleep = timer.sleep
	}
	return r.drive(ctx)
}

type run struct {
	cfg     Config
	call    Call
	workers []worker
	unsent  uint64 // of an open loop
	busy    bool   // all workers were, when the first of the unsent should have started
	planned uint64 // of an open loop
}

func (r *run) drive(ctx context.Context) (*Report, error) {
	if r.cfg.Warmup > 0 {
		r.reset()
		r.work(ctx, r.cfg.Warmup)
	}
	r.reset()
	finished := make(chan struct{})
	var reporter sync.WaitGroup
	begin := time.Now()
	if r.cfg.Progress != nil {
		reporter.Go(func() { r.reportProgress(begin, finished) })
	}
	r.work(ctx, r.cfg.Duration)
	elapsed := time.Since(begin)
	close(finished)
	reporter.Wait()
	return r.collect(elapsed)
}

func (r *run) reset() {
	for i := range r.workers {
		r.workers[i] = worker{latencies: newHistogram()}
		if r.cfg.Rate > 0 {
			r.workers[i].lateness = newHistogram()
		}
	}
	r.planned, r.unsent, r.busy = 0, 0, false
}

// work runs all workers for the duration. A call in flight at its end is
// finished and counted.
func (r *run) work(ctx context.Context, duration time.Duration) {
	if r.cfg.Rate > 0 {
		r.workOpen(ctx, duration)
		return
	}
	var all sync.WaitGroup
	end := time.Now().Add(duration)
	for i := range r.workers {
		all.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				r.one(ctx, i, time.Now())
			}
		})
	}
	all.Wait()
}

// one does a call that should start at begin.
func (r *run) one(ctx context.Context, i int, begin time.Time) {
	w := &r.workers[i]
	err := r.call(ctx, i)
	if err == nil {
		w.calls.Add(1)
		record(w.latencies, time.Since(begin))
		return
	}
	if ctx.Err() != nil {
		return // the run was ended, not the service at fault
	}
	w.failed(err)
}

func (r *run) totals() (calls, failures uint64) {
	for i := range r.workers {
		calls += r.workers[i].calls.Load()
		failures += r.workers[i].errors.Load()
	}
	return calls, failures
}

func (r *run) reportProgress(begin time.Time, finished <-chan struct{}) {
	ticker := time.NewTicker(r.cfg.Interval)
	defer ticker.Stop()
	lastAt, lastCalls := begin, uint64(0)
	for {
		select {
		case <-finished:
			return
		case <-ticker.C:
		}
		now := time.Now()
		calls, failures := r.totals()
		r.cfg.Progress(Progress{
			Elapsed: now.Sub(begin), Of: r.cfg.Duration, Calls: calls, Errors: failures,
			Rate: float64(calls-lastCalls) / now.Sub(lastAt).Seconds(),
		})
		lastAt, lastCalls = now, calls
	}
}
