// Package load drives a service as hard as a number of workers can, each
// sending its next call when the last one is answered (a closed loop), and
// measures what they saw.
//
// What it promises: every call of the measured time is counted exactly once,
// as a success or as an error. What it never does: correct latencies for
// calls that a slow service kept from being sent; a closed loop measures the
// service's capacity, not the waiting time of its users.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded from 1 µs to 60 s with three significant digits.
const (
	lowestLatency  = int64(time.Microsecond)
	highestLatency = int64(time.Minute)
	latencyDigits  = 3
)

// Call does one call as one of the workers, counted from 0. It is called by
// that worker alone.
type Call func(ctx context.Context, worker int) error

// Config says how hard and how long.
type Config struct {
	Workers  int           // concurrent calls; at least 1
	Warmup   time.Duration // calls before the measured time; may be 0
	Duration time.Duration // the measured time
	// Progress is told of the run about every Interval (0: 1 s), from one
	// goroutine; nil: nobody.
	Progress func(Progress)
	Interval time.Duration
}

// Progress is how far a run has come.
type Progress struct {
	Elapsed time.Duration // of the measured time
	Of      time.Duration // the whole of it
	Calls   uint64        // successes so far
	Errors  uint64
	Rate    float64 // successes per second since the last report
}

// Report is what a run measured.
type Report struct {
	Calls      uint64 // successes
	Errors     uint64
	FirstError error // nil without errors
	Elapsed    time.Duration
	Latencies  *hdrhistogram.Histogram // of the successes, in nanoseconds
}

// Rate is successes per second.
func (r *Report) Rate() float64 { return float64(r.Calls) / r.Elapsed.Seconds() }

// Latency is the latency at a percentile (0 to 100).
func (r *Report) Latency(percentile float64) time.Duration {
	return time.Duration(r.Latencies.ValueAtPercentile(percentile))
}

// Run drives call until the duration is over or ctx ends, and reports what was
// measured so far in both cases. Errors of calls are counted, not returned.
func Run(ctx context.Context, cfg Config, call Call) (*Report, error) {
	if cfg.Workers < 1 || cfg.Duration <= 0 || cfg.Warmup < 0 {
		return nil, errors.New("a load run needs at least one worker and a duration")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	r := &run{cfg: cfg, call: call, workers: make([]worker, cfg.Workers)}
	return r.drive(ctx)
}

// worker is what one worker has seen.
type worker struct {
	calls, errors atomic.Uint64
	firstError    error
	latencies     *hdrhistogram.Histogram
}

type run struct {
	cfg     Config
	call    Call
	workers []worker
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
		r.workers[i] = worker{latencies: hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)}
	}
}

// work runs all workers for the duration. A call in flight at its end is
// finished and counted.
func (r *run) work(ctx context.Context, duration time.Duration) {
	var all sync.WaitGroup
	end := time.Now().Add(duration)
	for i := range r.workers {
		all.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				r.one(ctx, i)
			}
		})
	}
	all.Wait()
}

func (r *run) one(ctx context.Context, i int) {
	w := &r.workers[i]
	begin := time.Now()
	err := r.call(ctx, i)
	latency := time.Since(begin)
	if err == nil {
		w.calls.Add(1)
		// Clamped, so that recording cannot fail.
		_ = w.latencies.RecordValue(min(max(int64(latency), lowestLatency), highestLatency))
		return
	}
	if ctx.Err() != nil {
		return // the run was ended, not the service at fault
	}
	w.errors.Add(1)
	if w.firstError == nil {
		w.firstError = err
	}
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

func (r *run) collect(elapsed time.Duration) (*Report, error) {
	report := &Report{Elapsed: elapsed, Latencies: hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)}
	report.Calls, report.Errors = r.totals()
	for i := range r.workers {
		if lost := report.Latencies.Merge(r.workers[i].latencies); lost != 0 {
			return nil, fmt.Errorf("merging the latencies: %d values lost", lost)
		}
		if report.FirstError == nil {
			report.FirstError = r.workers[i].firstError
		}
	}
	return report, nil
}
