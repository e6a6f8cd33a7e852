package cluster

import (
	"fmt"

	metrics "github.com/hashicorp/go-metrics/compat"
)

// MetricKind says what a metric's value is.
type MetricKind uint8

// Kinds of metrics.
const (
	Counter MetricKind = iota // to be added up
	Gauge                     // the last one counts
	Sample                    // one of many; durations are in milliseconds
)

// MetricLabel is a name with a value.
type MetricLabel = metrics.Label

// Sink takes raft's metrics. key is the name in parts (raft, commitTime). It is
// called on raft's own goroutines, so it must be quick; it keeps neither slice.
type Sink func(kind MetricKind, key []string, value float32, labels []MetricLabel)

// install makes the sink that of the process's metrics registry, the only one
// that raft reports to.
func (s Sink) install() error {
	config := metrics.DefaultConfig("")
	config.EnableHostname = false
	config.EnableHostnameLabel = false
	config.EnableRuntimeMetrics = false
	if _, err := metrics.NewGlobal(config, sinkAdapter{s}); err != nil {
		return fmt.Errorf("installing the metrics sink: %w", err)
	}
	return nil
}

// sinkAdapter is the interface of go-metrics over a Sink.
type sinkAdapter struct{ to Sink }

func (a sinkAdapter) SetGauge(key []string, v float32)    { a.to(Gauge, key, v, nil) }
func (a sinkAdapter) EmitKey(key []string, v float32)     { a.to(Sample, key, v, nil) }
func (a sinkAdapter) IncrCounter(key []string, v float32) { a.to(Counter, key, v, nil) }
func (a sinkAdapter) AddSample(key []string, v float32)   { a.to(Sample, key, v, nil) }

func (a sinkAdapter) SetGaugeWithLabels(key []string, v float32, labels []MetricLabel) {
	a.to(Gauge, key, v, labels)
}

func (a sinkAdapter) IncrCounterWithLabels(key []string, v float32, labels []MetricLabel) {
	a.to(Counter, key, v, labels)
}

func (a sinkAdapter) AddSampleWithLabels(key []string, v float32, labels []MetricLabel) {
	a.to(Sample, key, v, labels)
}
