package server

import (
	"fmt"
	"strings"

	"github.com/raftkms/raftkms/cluster"
)

// raftSink is where the libraries of replication report to: under the names that
// they have wherever they are used (raft_commitTime), so that what is known of
// them helps here. Durations are in milliseconds.
func (m *nodeMetrics) raftSink() cluster.Sink {
	// From a tenth of a millisecond to a megabyte: a sample may be either.
	bounds := []float64{
		0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500,
		1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6,
	}
	return func(kind cluster.MetricKind, key []string, value float32, labels []cluster.MetricLabel) {
		name := metricName(key, labels)
		switch kind {
		case cluster.Counter:
			m.set.GetOrCreateFloatCounter(name).Add(float64(value))
		case cluster.Gauge:
			m.set.GetOrCreateGauge(name, nil).Set(float64(value))
		case cluster.Sample:
			m.set.GetOrCreatePrometheusHistogramExt(name, bounds).Update(float64(value))
		}
	}
}

// metricName writes a name in parts, and labels, as Prometheus wants them.
func metricName(key []string, labels []cluster.MetricLabel) string {
	word := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}
	name := strings.Map(word, strings.Join(key, "_"))
	if len(labels) == 0 {
		return name
	}
	pairs := make([]string, len(labels))
	for i, label := range labels {
		pairs[i] = fmt.Sprintf("%s=%q", strings.Map(word, label.Name), strings.Map(printable, label.Value))
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// printable is what may stand in a label's value without being escaped.
func printable(r rune) rune {
	if r == '"' || r == '\\' || r < ' ' {
		return '_'
	}
	return r
}
