package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/kms"
)

// What one address and one user may ask of this node is counted by package
// gate; here is where its answers are asked for.

// admit answers a request that is one too many of its address, by the answer of
// whose path it is.
func (s *Server) admit(in incoming, refuse func(rc *fasthttp.RequestCtx, requestID string)) bool {
	if !s.gate.LimitsAddresses() {
		return true
	}
	from, ok := netip.AddrFromSlice(in.rc.RemoteIP())
	if !ok || s.gate.AdmitAddress(from) {
		return true
	}
	refuse(in.rc, in.requestID)
	return false
}

// untraced tells whether a refusal is one of so many of its source that they
// are traced together.
func (s *Server) untraced(source string, err error) bool {
	switch {
	case iam.IsRefusal(err), keystone.IsUntried(err):
		return s.gate.Failed(source)
	case errors.Is(err, iam.ErrThrottled), errors.Is(err, gate.ErrBusy): // with a good credential
		return s.gate.Throttled(source)
	default:
		return false
	}
}

// watchGate adds the gate's counts to the metrics.
func (m *nodeMetrics) watchGate(g *gate.Gate) {
	for _, kind := range gate.Kinds() {
		m.set.NewGauge(fmt.Sprintf(`kmsd_limited_total{what="%s"}`, kind), func() float64 { return float64(g.Count(kind)) })
	}
}

// watchLanes adds what the lanes do to the metrics.
func (m *nodeMetrics) watchLanes(lanes kms.Lanes) {
	for name, lane := range map[string]*gate.Lane{"uses": lanes.Uses, "others": lanes.Others} {
		for metric, value := range map[string]func(gate.LaneCounts) float64{
			`kmsd_calls_working{lane="%s"}`:                     func(c gate.LaneCounts) float64 { return float64(c.Working) },
			`kmsd_calls_waiting{lane="%s"}`:                     func(c gate.LaneCounts) float64 { return float64(c.Waiting) },
			`kmsd_calls_refused_total{lane="%s",why="crowded"}`: func(c gate.LaneCounts) float64 { return float64(c.Full) },
			`kmsd_calls_refused_total{lane="%s",why="late"}`:    func(c gate.LaneCounts) float64 { return float64(c.Late) },
		} {
			m.set.NewGauge(fmt.Sprintf(metric, name), func() float64 { return value(lane.Counts()) })
		}
	}
}

// tellUntraced traces how many refusals were not traced one by one, of which
// addresses: an event an address, and one for all those that are too many to name.
func (s *Server) tellUntraced(context.Context, int64) error {
	told := s.gate.Untraced()
	for _, address := range slices.SortedFunc(maps.Keys(told), netip.Addr.Compare) {
		count := told[address]
		s.events.note(kms.OpRefuseMany, func(c *kms.Call) {
			from := "many addresses"
			if address.IsValid() {
				from = address.String()
			}
			c.AboutResource(from, "")
			c.Asked().Number("refusals", count)
			c.Remark(audit.RatingWarning, fmt.Sprintf("%d more requests from %s were refused, for want of a good credential or as too many of one user, and not traced one by one", count, from))
		})
	}
	return nil
}

// untracedPause is how often what was not traced is told of.
const untracedPause = time.Minute
