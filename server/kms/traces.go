package kms

import (
	"context"

	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// TraceQuery asks for one page of traces, the newest first.
type TraceQuery struct {
	audit.Query
	Marker string // of the page before; empty: the first one
	Nobody bool   // it is known that no trace fits
}

// TracePage is one page of the traces of all nodes.
type TracePage struct {
	Traces  []wire.Trace
	Marker  string   // of the next page; empty: there is none
	Missing []string // members that could not be asked
	Damaged []string // what could not be searched on those that were
}

// TraceSearch looks for traces on every node. An error of KindInvalid is about
// the marker.
type TraceSearch func(ctx context.Context, q TraceQuery) (TracePage, error)

// OpListTraces is the only operation of the trace service.
var OpListTraces = Operation{"listTraces", policy.ActionListTraces, "trace"}

// SearchTraces returns traces of the call's project, and of nobody else's.
func (s *Service) SearchTraces(ctx context.Context, c *Call, q TraceQuery) (TracePage, error) {
	c.record.Service = audit.ServiceCTS
	c.asked.Text("resource_id", q.ResourceID)
	c.asked.Text("trace_id", q.TraceID)
	c.asked.Text("trace_name", q.TraceName)
	c.asked.Number("limit", int64(q.Limit))
	if err := c.authorise(); err != nil {
		return TracePage{}, err
	}
	if q.Nobody {
		return TracePage{}, nil
	}
	q.ProjectID = c.in.Project
	page, err := s.search(ctx, q)
	c.answered.Number("count", int64(len(page.Traces)))
	if len(page.Missing) > 0 {
		c.answered.Texts("missing_nodes", page.Missing)
	}
	return page, err
}
