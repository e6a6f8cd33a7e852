package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/survival"
)

// entrant is one of those that are measured in turn, and what was measured of
// it, in the order of the rounds.
type entrant struct {
	name        string
	pids        []int // of its servers
	poster      *load.Poster
	connections int

	rates []float64 // requests per second
	costs []float64 // CPU time of the servers per request, in µs
	tails []float64 // p99 of an open loop at tailShare of the peak, in ms
	kept  bool      // that rate was kept in every round
}

// tailShare is the part of the peak at which latencies are compared.
const tailShare = 0.7

// newEntrant prepares the load on it.
func newEntrant(name string, pids []int, cfg load.PosterConfig, connections int) (*entrant, error) {
	cfg.Workers = connections
	poster, err := load.NewPoster(cfg)
	return &entrant{name: name, pids: pids, poster: poster, connections: connections, kept: true}, err
}

// peak is the rate of a closed loop.
func (e *entrant) peak() float64 { return survival.Median(e.rates) }

// closed measures a round in which the next call comes when the last is answered.
func (e *entrant) closed(ctx context.Context, progress io.Writer, of effort) error {
	of.workers = e.connections
	if of.warmup > 0 { // apart, since its CPU time does not count
		if _, err := measure(ctx, progress, e.name, effort{workers: of.workers, duration: of.warmup}, e.poster); err != nil {
			return err
		}
	}
	before, err := cpuTime(e.pids)
	if err != nil {
		return err
	}
	report, err := measure(ctx, progress, e.name, effort{workers: of.workers, duration: of.duration}, e.poster)
	if err != nil {
		return err
	}
	after, err := cpuTime(e.pids)
	if err != nil {
		return err
	}
	e.rates = append(e.rates, report.Rate())
	e.costs = append(e.costs, float64(after-before)/float64(time.Microsecond)/float64(report.Calls))
	return nil
}

// open measures a round in which calls come at a part of the peak.
func (e *entrant) open(ctx context.Context, progress io.Writer, of effort) error {
	of.workers, of.rate = e.connections, max(tailShare*e.peak(), 1/of.duration.Seconds())
	report, err := measure(ctx, progress, e.name, of, e.poster)
	if err != nil {
		return err
	}
	e.kept = e.kept && report.RateError() == nil
	e.tails = append(e.tails, milliseconds(report.Latency(99)))
	return nil
}

// spread is the median of rounds, and how far they lie apart.
type spread struct{ median, low, high float64 }

// over is the spread of a/b, round by round: what slows the machine down in a
// round slows both.
func over(a, b []float64) spread {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return spread{survival.Median(ratios), slices.Min(ratios), slices.Max(ratios)}
}
