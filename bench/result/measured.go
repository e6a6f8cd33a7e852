package result

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

// NewRound takes over what a load run measured.
func NewRound(report *load.Report) Round {
	r := Round{
		Elapsed: report.Elapsed, Calls: report.Calls, Errors: report.Errors,
		Kinds: report.Kinds, Latencies: NewHistogram(report.Latencies),
	}
	for _, node := range report.Nodes {
		r.Nodes = append(r.Nodes, Node{Name: node.Name, Calls: node.Calls, Errors: node.Errors, Latencies: NewHistogram(node.Latencies)})
	}
	if report.Lateness != nil {
		r.Open = &Open{Planned: report.Planned, Waited: report.Waited, Unsent: report.Unsent, Busy: report.Busy, Lateness: NewHistogram(report.Lateness)}
	}
	return r
}

// Throughput is successes per second.
func (r *Round) Throughput() float64 { return float64(r.Calls) / r.Elapsed.Seconds() }

// CPUPerRequest is CPU time of the servers per success; false if it was not
// measured.
func (r *Round) CPUPerRequest() (time.Duration, bool) {
	if r.Server == nil || r.Server.CPU == nil || r.Calls == 0 {
		return 0, false
	}
	return *r.Server.CPU / time.Duration(r.Calls), true
}

// Spread is the median of rounds, and how far they lie apart.
type Spread struct{ Median, Low, High float64 }

// Of is the spread of values; of none, all zero.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	n := len(values)
	return Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Low: values[0], High: values[n-1]}
}

// Throughput is successes per second.
func (p *Point) Throughput() Spread {
	return p.spread(func(r *Round) (float64, bool) { return r.Throughput(), true })
}

// Latency is the latency at a percentile, in seconds.
func (p *Point) Latency(percentile float64) Spread {
	return p.spread(func(r *Round) (float64, bool) { return r.Latencies.At(percentile).Seconds(), r.Calls > 0 })
}

// CPUPerRequest is CPU time of the servers per success, in seconds; false if no
// round measured it.
func (p *Point) CPUPerRequest() (Spread, bool) {
	measured := false
	s := p.spread(func(r *Round) (float64, bool) {
		cpu, ok := r.CPUPerRequest()
		measured = measured || ok
		return cpu.Seconds(), ok
	})
	return s, measured
}

// AllocsPerRequest is allocated objects and bytes of the servers per success;
// false if no round measured them.
func (p *Point) AllocsPerRequest() (objects, bytes Spread, ok bool) {
	per := func(of func(*Server) *float64) Spread {
		return p.spread(func(r *Round) (float64, bool) {
			if r.Server == nil || of(r.Server) == nil || r.Calls == 0 {
				return 0, false
			}
			return *of(r.Server) / float64(r.Calls), true
		})
	}
	objects = per(func(s *Server) *float64 { return s.Allocs })
	bytes = per(func(s *Server) *float64 { return s.AllocBytes })
	return objects, bytes, objects.High > 0 || bytes.High > 0
}

func (p *Point) spread(of func(*Round) (float64, bool)) Spread {
	var values []float64
	for i := range p.Rounds {
		if v, ok := of(&p.Rounds[i]); ok {
			values = append(values, v)
		}
	}
	return spreadOf(values)
}

// Latencies are those of all rounds.
func (p *Point) Latencies() Histogram {
	var all []Histogram
	for i := range p.Rounds {
		all = append(all, p.Rounds[i].Latencies)
	}
	return Merge(all...)
}

// Errors is how many calls failed, and Kinds how many of which kind.
func (p *Point) Errors() (n uint64, kinds map[string]uint64) {
	kinds = make(map[string]uint64)
	for i := range p.Rounds {
		n += p.Rounds[i].Errors
		for kind, count := range p.Rounds[i].Kinds {
			kinds[kind] += count
		}
	}
	return n, kinds
}

// Bottlenecks are the distinct reasons why the generator was the bottleneck in
// rounds of this point; none if it never was.
func (p *Point) Bottlenecks() (reasons []string) {
	for _, r := range p.Rounds {
		if g := r.Generator; g.Bottleneck && !slices.Contains(reasons, g.Reason) {
			reasons = append(reasons, g.Reason)
		}
	}
	return reasons
}

// Same says whether two points are of the same place of a sweep.
func (p *Point) Same(q *Point) bool {
	return p.Connections == q.Connections && p.Nodes == q.Nodes && p.Keys == q.Keys && p.DeviceLatency == q.DeviceLatency && p.Rate == q.Rate
}

// Name tells a point from the others of its run in few words. What is 0 is left
// out.
func (p *Point) Name() string {
	var parts []string
	of := func(n int, thing string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+thing)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, thing))
		}
	}
	of(p.Connections, "connection")
	of(p.Nodes, "node")
	of(p.Keys, "key")
	if p.DeviceLatency > 0 {
		parts = append(parts, fmt.Sprintf("device + %s", p.DeviceLatency))
	}
	if p.Rate > 0 {
		parts = append(parts, fmt.Sprintf("%v calls/s", p.Rate))
	}
	return strings.Join(parts, ", ")
}
