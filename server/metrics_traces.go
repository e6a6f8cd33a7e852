package server

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// traceCounts count the traces that this node has written, by their rating, and
// those that it could not write.
type traceCounts struct {
	normal, warning, incident, unwritten *metrics.Counter
}

func newTraceCounts(set *metrics.Set) traceCounts {
	of := func(rating audit.Rating) *metrics.Counter {
		return set.NewCounter(fmt.Sprintf(`kmsd_traces_total{rating="%s"}`, rating))
	}
	return traceCounts{
		normal: of(audit.RatingNormal), warning: of(audit.RatingWarning), incident: of(audit.RatingIncident),
		unwritten: set.NewCounter("kmsd_traces_unwritten_total"),
	}
}

// traced counts a trace; err is how its writing ended.
func (m *nodeMetrics) traced(rating audit.Rating, err error) {
	switch {
	case err != nil:
		m.traces.unwritten.Inc()
	case rating == audit.RatingIncident:
		m.traces.incident.Inc()
	case rating == audit.RatingWarning:
		m.traces.warning.Inc()
	default:
		m.traces.normal.Inc()
	}
}

// watchRefusals adds how many bursts of refusals were incidents.
func (m *nodeMetrics) watchRefusals(s *kms.Service) {
	for _, of := range kms.Subjects() {
		m.set.NewGauge(fmt.Sprintf(`kmsd_refusal_bursts_total{of="%s"}`, of), func() float64 { return float64(s.RefusalBursts(of)) })
	}
}
