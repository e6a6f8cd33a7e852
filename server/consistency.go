package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// defaultMaxAge is how old a state may be in the available mode where nobody
// says.
const defaultMaxAge = 30 * time.Second

// consistency reads the cluster's mode, as it is at this moment.
func (s *Server) consistency(ctx context.Context) (*wire.Consistency, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	cluster := s.machine.State().Cluster()
	if cluster == nil {
		return nil, errNoCluster
	}
	return &wire.Consistency{Mode: cluster.Consistency.String(), MaxAgeMillis: cluster.MaxAge}, nil
}

// setConsistency changes it and returns when every node follows it.
func (s *Server) setConsistency(ctx context.Context, req wire.Consistency) (*wire.Consistency, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	body := command.SetConsistency{MaxAge: req.MaxAgeMillis}
	switch req.Mode {
	case state.ConsistencyLease.String():
		body.Mode = state.ConsistencyLease
	case state.ConsistencyStrict.String():
		body.Mode = state.ConsistencyStrict
	case state.ConsistencyAvailable.String():
		body.Mode = state.ConsistencyAvailable
		if body.MaxAge == 0 {
			body.MaxAge = defaultMaxAge.Milliseconds()
		}
	default:
		return nil, fmt.Errorf("%.40q is no consistency: it is lease, strict or available", req.Mode)
	}
	if body.Mode != state.ConsistencyAvailable && body.MaxAge != 0 {
		return nil, errors.New("a bound on the age of the state goes with available only")
	}
	if err := m.service.SetConsistency(ctx, uuid.NewString(), body); err != nil {
		return nil, err
	}
	return &wire.Consistency{Mode: body.Mode.String(), MaxAgeMillis: body.MaxAge}, nil
}

// watchLeases adds what is known of leases and fences, and of calls for which this
// node had no state or module.
func (m *nodeMetrics) watchLeases(s *Server, member *member) {
	gauge := func(name string, read func() float64) { m.set.NewGauge(name, read) }
	gauge("kmsd_lease_held", func() float64 { return truth(member.node.Lease().Serving) })
	gauge("kmsd_lease_left_seconds", func() float64 { return member.node.Lease().Left.Seconds() })
	gauge("kmsd_lease_renewals_total", func() float64 { return float64(member.node.Lease().Renewals) })
	gauge("kmsd_lease_renewal_failures_total", func() float64 { return float64(member.node.Lease().Failures) })
	gauge("kmsd_fences_waiting", func() float64 { return float64(member.node.Lease().Waiting) })
	gauge("kmsd_released_index", func() float64 { return float64(member.node.Lease().Released) })
	gauge("kmsd_released_lag", func() float64 { return float64(member.node.Lease().Lag) })
	gauge("kmsd_clock_skew_seconds", func() float64 { return member.node.Skew().Seconds() })
	gauge("kmsd_timed_work_allowed", func() float64 { allowed, _ := member.node.TimedWork(); return truth(allowed) })
	gauge(`kmsd_calls_sent_on_total{lack="state"}`, func() float64 { return float64(member.sentOn.state.Load()) })
	gauge(`kmsd_calls_sent_on_total{lack="module"}`, func() float64 { return float64(member.sentOn.module.Load()) })
	gauge("kmsd_cluster_calls_total", func() float64 { return float64(member.node.Status().Calls) })
}

// newFenceHistogram is how long answers waited until they were released.
func newFenceHistogram(set *metrics.Set) *metrics.PrometheusHistogram {
	return set.NewPrometheusHistogram("kmsd_fence_wait_seconds")
}

// fenced notes one such wait.
func (m *nodeMetrics) fenced(took time.Duration) { m.fences.Update(took.Seconds()) }
