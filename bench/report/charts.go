package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/raftkms/raftkms/bench/result"
)

// maxLines is how many lines a plot may have before they cannot be told apart.
const maxLines = 2 * colours

// place is a point with the run that it is of.
type place struct {
	run   string
	point *result.Point
}

// latencyCharts are the latencies by percentile: the rarer, the further right.
func latencyChart(places []place) chart {
	c := chart{
		title: "Latency by percentile", xLabel: "percentile", yLabel: "latency", xLog: true, yLog: true, yText: seconds,
		note: "All rounds of a point together. In an open loop a latency counts from the time at which the call should have started.",
	}
	for _, p := range []float64{0, 50, 90, 99, 99.9, 99.99} {
		c.xTicks = append(c.xTicks, tick{1 / (1 - p/100), fmt.Sprintf("%v %%", p)})
	}
	if len(places) > maxLines {
		places = places[:maxLines]
		c.note += fmt.Sprintf(" The first %d points alone are drawn.", maxLines)
	}
	for _, p := range places {
		h := p.point.Latencies()
		l := line{name: p.run + p.point.Name(), bare: true}
		const perDecade = 12
		for i := range 4*perDecade + 1 {
			rarity := math.Pow(10, float64(i)/perDecade)
			if rarity > float64(h.Count()) {
				break // fewer calls than the percentile is of
			}
			at := h.At(100 * (1 - 1/rarity)).Seconds()
			l.values = append(l.values, value{rarity, at, at, at})
		}
		c.lines = append(c.lines, l)
	}
	return c
}

// sweep draws a quantity of the points against one of their settings, with a
// line for all that differ in nothing else; ok is false unless some do.
func sweep(places []place, c chart, by func(*result.Point) float64, text func(*result.Point) string, without func(*result.Point), of func(*result.Point) (result.Spread, bool)) (chart, bool) {
	lines := make(map[string]int)
	ticks := make(map[float64]string)
	for _, p := range places {
		s, measured := of(p.point)
		x := by(p.point)
		if !measured {
			continue
		}
		other := *p.point
		without(&other)
		name := p.run + other.Name()
		i, known := lines[name]
		if !known {
			i = len(c.lines)
			lines[name] = i
			c.lines = append(c.lines, line{name: name})
		}
		c.lines[i].values = append(c.lines[i].values, value{x, s.Median, s.Low, s.High})
		ticks[x] = text(p.point)
	}
	c.lines = slices.DeleteFunc(c.lines, func(l line) bool { return len(l.values) < 2 })
	for _, l := range c.lines {
		slices.SortFunc(l.values, func(a, b value) int { return cmp.Compare(a.x, b.x) })
		for _, v := range l.values {
			if !slices.ContainsFunc(c.xTicks, func(t tick) bool { return t.At == v.x }) {
				c.xTicks = append(c.xTicks, tick{v.x, ticks[v.x]})
			}
		}
	}
	return c, len(c.lines) > 0
}

func throughput(p *result.Point) (result.Spread, bool) { return p.Throughput(), true }

// sweeps are the plots of what was varied.
func sweeps(places []place) (charts []chart) {
	add := func(c chart, ok bool) {
		if ok {
			charts = append(charts, c)
		}
	}
	const spread = "Medians of the rounds; the bars go from the lowest to the highest."
	calls := func(title, xLabel string, log bool) chart {
		return chart{title: title, xLabel: xLabel, yLabel: "requests/s", xLog: log, yText: count, note: spread}
	}
	connections := func(p *result.Point) float64 { return float64(p.Connections) }
	nodes := func(p *result.Point) float64 { return float64(p.Nodes) }
	keys := func(p *result.Point) float64 { return float64(p.Keys) }
	latency := func(p *result.Point) float64 { return p.DeviceLatency.Seconds() }
	number := func(of func(*result.Point) float64) func(*result.Point) string {
		return func(p *result.Point) string { return fmt.Sprint(of(p)) }
	}
	add(sweep(places, calls("Throughput against connections", "connections", true), connections, number(connections),
		func(p *result.Point) { p.Connections = 0 }, throughput))
	noNodes := func(p *result.Point) { p.Nodes = 0 }
	add(sweep(places, calls("Throughput against nodes", "nodes", false), nodes, number(nodes), noNodes, throughput))
	cpu := chart{title: "Server CPU per request against nodes", xLabel: "nodes", yLabel: "CPU per request, all servers", yText: seconds, note: spread}
	add(sweep(places, cpu, nodes, number(nodes), noNodes, (*result.Point).CPUPerRequest))
	noLatency := func(p *result.Point) { p.DeviceLatency = 0 }
	milliseconds := func(p *result.Point) string { return p.DeviceLatency.Round(time.Microsecond).String() }
	add(sweep(places, calls("Throughput against the latency of the HSM", "added to every call of the device", false), latency, milliseconds, noLatency, throughput))
	cpu.title, cpu.xLabel, cpu.xLog = "Server CPU per request against keys in use", "keys", true
	add(sweep(places, cpu, keys, number(keys), func(p *result.Point) { p.Keys = 0 }, (*result.Point).CPUPerRequest))
	return charts
}
