// Package report makes one HTML page of the results of benchmarks: plots, and
// tables of what was run, what it cost, what failed, and where the generator was
// what was measured.
//
// What it promises: the page is one file that loads nothing from elsewhere and
// runs no script; whatever stands in a result is escaped.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"

	"github.com/raftkms/raftkms/bench/result"
)

//go:embed page.html
var page string

// Run is a result with the name that the page gives it.
type Run struct {
	Name   string
	Result *result.Result
}

// content is what the page is made of.
type content struct {
	Runs     []runRow
	Plots    []Plot
	Points   []pointRow
	Nodes    []nodeRow
	Errors   []errorRow
	Warnings []warning
}

type runRow struct {
	Name string
	*result.Result
}

type pointRow struct {
	Run, Name                string
	Throughput, Low, High    string
	CPU, Allocs, Bytes       string
	P50, P90, P99, P999, Max string
	Generator                string // its CPU time per request
	Errors                   uint64
	Bottleneck               bool
}

type nodeRow struct {
	Run, Point, Name string
	Calls, Errors    uint64
	Share            string
	P50, P99         string
}

type errorRow struct {
	Run, Point, Kind string
	Count            uint64
}

type warning struct{ Run, Point, Reason string }

// Write writes the page.
func Write(w io.Writer, runs []Run) error {
	var c content
	var places []place
	for _, run := range runs {
		c.Runs = append(c.Runs, runRow{run.Name, run.Result})
		prefix := ""
		if len(runs) > 1 {
			prefix = run.Name + ": "
		}
		for i := range run.Result.Series {
			p := &run.Result.Series[i]
			places = append(places, place{prefix, p})
			c.add(run.Name, p)
		}
	}
	for _, chart := range append([]chart{latencyChart(places)}, sweeps(places)...) {
		if plot, ok := chart.draw(); ok {
			c.Plots = append(c.Plots, plot)
		}
	}
	t, err := template.New("page").Parse(page)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, c); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// add puts a point into the tables.
func (c *content) add(run string, p *result.Point) {
	failed, kinds := p.Errors()
	rate, reasons := p.Throughput(), p.Bottlenecks()
	row := pointRow{
		Run: run, Name: p.Name(), Throughput: whole(rate.Median), Low: whole(rate.Low), High: whole(rate.High), Errors: failed, Bottleneck: len(reasons) > 0,
		P50: seconds(p.Latency(50).Median), P90: seconds(p.Latency(90).Median), P99: seconds(p.Latency(99).Median),
		P999: seconds(p.Latency(99.9).Median), Max: seconds(p.Latency(100).High), CPU: "–", Allocs: "–", Bytes: "–", Generator: "–",
	}
	if cpu, ok := p.CPUPerRequest(); ok {
		row.CPU = seconds(cpu.Median)
	}
	if objects, bytes, ok := p.AllocsPerRequest(); ok {
		row.Allocs, row.Bytes = fmt.Sprintf("%.1f", objects.Median), whole(bytes.Median)
	}
	var calls uint64
	var generator float64
	for _, r := range p.Rounds {
		calls += r.Calls
		generator += r.Generator.CPU.Seconds()
	}
	if calls > 0 {
		row.Generator = seconds(generator / float64(calls))
	}
	c.Points = append(c.Points, row)
	for _, reason := range reasons {
		c.Warnings = append(c.Warnings, warning{run, p.Name(), reason})
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		c.Errors = append(c.Errors, errorRow{run, p.Name(), kind, kinds[kind]})
	}
	c.addNodes(run, p, calls)
}

// addNodes says how a point's calls were spread over several nodes.
func (c *content) addNodes(run string, p *result.Point, calls uint64) {
	type sum struct {
		calls, errors uint64
		latencies     []result.Histogram
	}
	sums := make(map[string]*sum)
	for _, r := range p.Rounds {
		for _, node := range r.Nodes {
			s := sums[node.Name]
			if s == nil {
				s = &sum{}
				sums[node.Name] = s
			}
			s.calls += node.Calls
			s.errors += node.Errors
			s.latencies = append(s.latencies, node.Latencies)
		}
	}
	if len(sums) < 2 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s := sums[name]
		h := result.Merge(s.latencies...)
		c.Nodes = append(c.Nodes, nodeRow{
			Run: run, Point: p.Name(), Name: name, Calls: s.calls, Errors: s.errors,
			Share: fmt.Sprintf("%.1f %%", 100*float64(s.calls)/float64(max(calls, 1))),
			P50:   seconds(h.At(50).Seconds()), P99: seconds(h.At(99).Seconds()),
		})
	}
}

func whole(v float64) string { return fmt.Sprintf("%.0f", v) }
