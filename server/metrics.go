package server

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/server/audit/export"
)

// nodeMetrics counts what an operator watches. Labels are operation names and
// status codes, never anything that a client chose.
type nodeMetrics struct {
	set    *metrics.Set
	fences *metrics.PrometheusHistogram
	traces traceCounts
	doubts *metrics.Counter // checkpoints of peers that did not fit

	mu         sync.Mutex
	operations map[operationStatus]*metrics.Counter
	durations  map[string]*metrics.PrometheusHistogram
}

type operationStatus struct {
	operation string
	status    int
}

func newMetrics(version string) *nodeMetrics {
	m := &nodeMetrics{set: metrics.NewSet(), operations: make(map[operationStatus]*metrics.Counter), durations: make(map[string]*metrics.PrometheusHistogram)}
	m.fences = newFenceHistogram(m.set)
	m.traces = newTraceCounts(m.set)
	m.doubts = m.set.NewCounter("kmsd_audit_doubts_total")
	m.set.NewGauge(fmt.Sprintf(`kmsd_build_info{version="%s"}`, strings.Map(printable, version)), func() float64 { return 1 })
	return m
}

// observe counts one answered request.
func (m *nodeMetrics) observe(operation string, status int, took time.Duration) {
	m.mu.Lock()
	counter, ok := m.operations[operationStatus{operation, status}]
	if !ok {
		counter = m.set.NewCounter(fmt.Sprintf(`kmsd_requests_total{operation="%s",status="%d"}`, operation, status))
		m.operations[operationStatus{operation, status}] = counter
	}
	duration, ok := m.durations[operation]
	if !ok {
		duration = m.set.NewPrometheusHistogram(fmt.Sprintf(`kmsd_request_duration_seconds{operation="%s"}`, operation))
		m.durations[operation] = duration
	}
	m.mu.Unlock()
	counter.Inc()
	duration.Update(took.Seconds())
}

// watch adds what is read from the member when somebody scrapes.
func (m *nodeMetrics) watch(s *Server, member *member) {
	gauge := func(name string, read func() float64) { m.set.NewGauge(name, read) }
	gauge("kmsd_raft_term", func() float64 { return float64(member.node.Status().Term) })
	gauge("kmsd_raft_commit_index", func() float64 { return float64(member.node.Status().Commit) })
	gauge("kmsd_raft_is_leader", func() float64 { return truth(member.node.IsLeader()) })
	m.watchMessages(member.node)
	gauge("kmsd_raft_repeated_snapshots_total", func() float64 { return float64(member.node.Status().Repeated) })
	gauge("kmsd_applied_index", func() float64 { return float64(s.machine.State().Applied()) })
	gauge("kmsd_ready", func() float64 { return truth(member.ready.now() == nil) })
	gauge(`kmsd_certificate_expiry_timestamp_seconds{port="cluster"}`, func() float64 { return float64(member.identity.Expires().Unix()) })
	gauge(`kmsd_certificate_expiry_timestamp_seconds{port="api"}`, func() float64 { return float64(member.apiExpires().Unix()) })
	gauge("kmsd_ca_expiry_timestamp_seconds", s.caExpiry)
	gauge("kmsd_erasure_pending", func() float64 {
		through, reported := toErase(s.machine.State(), s.cfg.NodeID)
		return truth(reported < through)
	})
	m.watchLeases(s, member)
	m.watchRefusals(member.service)
	gauge("kmsd_hsm_calls_total", func() float64 { return float64(member.service.Batches().Calls) })
	gauge("kmsd_hsm_derivations_total", func() float64 { return float64(member.service.Batches().Requests) })
	gauge("kmsd_hsm_waiting", func() float64 { return float64(member.service.Batches().Waiting) })
	gauge("kmsd_hsm_call_seconds", func() float64 { return member.service.Batches().Typical.Seconds() })
	gauge("kmsd_hsm_loaded_keys", func() float64 { return float64(member.service.LoadedKeys()) })
	gauge("kmsd_hsm_serves", func() float64 { return truth(s.moduleProblem(member) == nil) })
	gauge("kmsd_hsm_generator_healthy", func() float64 { return truth(member.service.Healthy() == nil) })
	if devices, is := s.cfg.Module.(hsm.Redundant); is {
		m.watchModules(devices)
	} else if module, is := s.cfg.Module.(hsm.Monitored); is {
		m.watchModule("", module.Health)
	}
	gauge("kmsd_hsm_roots", func() float64 { return truth(member.roots.held()) })
}

// DeviceCall is how long a call of the node's HSM that derives data keys lasts, as
// a running average; 0 before the first, and where keys are in the process.
func (s *Server) DeviceCall() time.Duration {
	if m := s.member.Load(); m != nil {
		return m.service.Batches().Typical
	}
	return 0
}

// watchMessages adds how many messages this node has sent to others: Raft's
// (heartbeats among them), what goes beside them, and calls of every kind.
func (m *nodeMetrics) watchMessages(node *cluster.Node) {
	for kind, read := range map[string]func(s cluster.Status) uint64{
		"append-entries": func(s cluster.Status) uint64 { return s.Appends },
		"commit-push":    func(s cluster.Status) uint64 { return s.Pushes },
		"heartbeat":      func(s cluster.Status) uint64 { return s.Asks },
		"call":           func(s cluster.Status) uint64 { return s.Calls },
	} {
		m.set.NewGauge(fmt.Sprintf(`kmsd_cluster_messages_total{kind="%s"}`, kind), func() float64 { return float64(read(node.Status())) })
	}
}

// watchModules adds what is read from the devices of a node that has more than
// one, each with its name as a label.
func (m *nodeMetrics) watchModules(devices hsm.Redundant) {
	for i, member := range devices.Members() {
		label := fmt.Sprintf(`member="%s"`, member.Name)
		now := func() hsm.MemberHealth { return devices.Members()[i] }
		m.watchModule(label, func() hsm.Health { return now().Health })
		m.set.NewGauge("kmsd_hsm_member_serves{"+label+"}", func() float64 { return truth(now().Serves() == nil) })
		m.set.NewGauge("kmsd_hsm_member_generator_healthy{"+label+"}", func() float64 {
			return truth(!errors.Is(now().Health.Outage, entropy.ErrGenerator))
		})
		m.set.NewGauge("kmsd_hsm_member_calls_total{"+label+"}", func() float64 { return float64(now().Calls) })
	}
}

// watchModule adds what is read from a module that may fail. label is empty where
// there is one.
func (m *nodeMetrics) watchModule(label string, health func() hsm.Health) {
	for name, read := range map[string]func(h hsm.Health) float64{
		`kmsd_hsm_outages_total`:               func(h hsm.Health) float64 { return float64(h.Outages) },
		`kmsd_hsm_logins_total`:                func(h hsm.Health) float64 { return float64(h.Logins) },
		`kmsd_hsm_reloads_total`:               func(h hsm.Health) float64 { return float64(h.Reloads) },
		`kmsd_hsm_faults_total{of="session"}`:  func(h hsm.Health) float64 { return float64(h.SessionFaults) },
		`kmsd_hsm_faults_total{of="sessions"}`: func(h hsm.Health) float64 { return float64(h.LostFaults) },
		`kmsd_hsm_faults_total{of="device"}`:   func(h hsm.Health) float64 { return float64(h.DeviceFaults) },
		`kmsd_hsm_inside`:                      func(h hsm.Health) float64 { return float64(h.Inside) },
		`kmsd_hsm_oldest_call_seconds`:         func(h hsm.Health) float64 { return h.Oldest.Seconds() },
		`kmsd_hsm_objects`:                     func(h hsm.Health) float64 { return float64(h.Loaded) },
		`kmsd_hsm_outage_seconds`: func(h hsm.Health) float64 {
			if h.Outage == nil {
				return 0
			}
			return time.Since(h.Since).Seconds()
		},
	} {
		switch {
		case label == "":
		case strings.HasSuffix(name, "}"):
			name = strings.TrimSuffix(name, "}") + "," + label + "}"
		default:
			name += "{" + label + "}"
		}
		m.set.NewGauge(name, func() float64 { return read(health()) })
	}
}

// watchExports adds how the exports of traces fare. Their names are those of the
// configuration.
func (m *nodeMetrics) watchExports(set *export.Set) {
	for i, sink := range set.Stats() {
		for name, read := range map[string]func(s export.Stats) float64{
			"kmsd_audit_export_lag_records":        func(s export.Stats) float64 { return float64(s.Lag) },
			"kmsd_audit_export_lag_seconds":        func(s export.Stats) float64 { return s.LagSeconds },
			"kmsd_audit_export_position":           func(s export.Stats) float64 { return float64(s.Above) },
			"kmsd_audit_export_records_total":      func(s export.Stats) float64 { return float64(s.Sent) },
			"kmsd_audit_export_errors_total":       func(s export.Stats) float64 { return float64(s.Errors) },
			"kmsd_audit_export_records_lost_total": func(s export.Stats) float64 { return float64(s.Lost) },
		} {
			m.set.NewGauge(fmt.Sprintf(`%s{sink="%s"}`, name, sink.Name), func() float64 { return read(set.Stats()[i]) })
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// write prints everything in the Prometheus text format.
func (m *nodeMetrics) write(w io.Writer) {
	m.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
}
