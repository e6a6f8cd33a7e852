package load

import (
	"cmp"
	"fmt"
	"slices"
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

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestLatency, highestLatency, latencyDigits)
}

// record clamps, so that recording cannot fail.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), lowestLatency), highestLatency))
}

// Report is what a run measured.
type Report struct {
	Calls      uint64            // successes
	Errors     uint64            // in all
	Kinds      map[string]uint64 // errors by their kind, see [KindOf]
	FirstError error             // nil without errors
	Elapsed    time.Duration
	Latencies  *hdrhistogram.Histogram // of the successes, in nanoseconds
	Nodes      []NodeReport            // sorted by name; empty without Config.NodeOf

	// Of an open loop; zero and nil of a closed one.
	Planned  uint64                  // calls whose time fell into the duration
	Waited   uint64                  // calls that found all workers busy at their time, or others waiting before them
	Unsent   uint64                  // calls that never started
	Busy     bool                    // whether they did not because all workers were busy; otherwise the generator was behind
	Lateness *hdrhistogram.Histogram // how late calls started although a worker was free, in nanoseconds: the generator's own share of the latencies
}

// NodeReport is the part of one node.
type NodeReport struct {
	Name          string
	Calls, Errors uint64
	Latencies     *hdrhistogram.Histogram
}

// Rate is successes per second.
func (r *Report) Rate() float64 { return float64(r.Calls) / r.Elapsed.Seconds() }

// Latency is the latency at a percentile (0 to 100).
func (r *Report) Latency(percentile float64) time.Duration {
	return time.Duration(r.Latencies.ValueAtPercentile(percentile))
}

// RateError says why an open loop could not keep its rate; nil if it did, and of
// a closed loop. The latencies of such a run are too good: the calls that were
// not sent are not among them.
func (r *Report) RateError() error {
	if r.Unsent == 0 {
		return nil
	}
	told := fmt.Sprintf("%d of %d calls could not be started in time", r.Unsent, r.Planned)
	if r.Busy {
		return fmt.Errorf("%s: all connections were busy when their time came; the service answers too slowly for this rate, or the connections are too few", told)
	}
	return fmt.Errorf("%s: this machine cannot generate the rate", told)
}

// worker is what one worker has seen.
type worker struct {
	calls, errors atomic.Uint64 // read while it works
	kinds         map[string]uint64
	firstError    error
	latencies     *hdrhistogram.Histogram
	lateness      *hdrhistogram.Histogram // of an open loop
	waited        uint64                  // of an open loop
}

func (w *worker) failed(err error) {
	w.errors.Add(1)
	if w.firstError == nil {
		w.firstError = err
		w.kinds = make(map[string]uint64)
	}
	count(w.kinds, KindOf(err), 1)
}

// maxKinds bounds the kinds of errors that are told apart.
const maxKinds = 32

func count(kinds map[string]uint64, kind string, n uint64) {
	if _, known := kinds[kind]; !known && len(kinds) >= maxKinds {
		kind = KindOther
	}
	kinds[kind] += n
}

func (r *run) collect(elapsed time.Duration) (*Report, error) {
	report := &Report{
		Elapsed: elapsed, Latencies: newHistogram(), Kinds: make(map[string]uint64),
		Planned: r.planned, Unsent: r.unsent, Busy: r.busy,
	}
	if r.cfg.Rate > 0 {
		report.Lateness = newHistogram()
	}
	nodes := make(map[string]*NodeReport)
	for i := range r.workers {
		w := &r.workers[i]
		report.Waited += w.waited
		if report.FirstError == nil {
			report.FirstError = w.firstError
		}
		for kind, n := range w.kinds {
			count(report.Kinds, kind, n)
		}
		report.Calls += w.calls.Load()
		report.Errors += w.errors.Load()
		lost := report.Latencies.Merge(w.latencies)
		if w.lateness != nil {
			lost += report.Lateness.Merge(w.lateness)
		}
		if r.cfg.NodeOf != nil {
			lost += w.addTo(nodes, r.cfg.NodeOf(i))
		}
		if lost != 0 {
			return nil, fmt.Errorf("merging the latencies: %d values lost", lost)
		}
	}
	for _, node := range nodes {
		report.Nodes = append(report.Nodes, *node)
	}
	slices.SortFunc(report.Nodes, func(a, b NodeReport) int { return cmp.Compare(a.Name, b.Name) })
	return report, nil
}

func (w *worker) addTo(nodes map[string]*NodeReport, name string) (lost int64) {
	node := nodes[name]
	if node == nil {
		node = &NodeReport{Name: name, Latencies: newHistogram()}
		nodes[name] = node
	}
	node.Calls += w.calls.Load()
	node.Errors += w.errors.Load()
	return node.Latencies.Merge(w.latencies)
}
