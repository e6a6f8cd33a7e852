package kms

import (
	"context"
	"time"

	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// TraceQuery asks for one page of traces: the newest first, or, of those who
// follow, the oldest first.
type TraceQuery struct {
	audit.Query
	Marker string // of the page before; empty: the first one
	Nobody bool   // it is known that no trace fits
	// Node asks for the traces of one node; empty: of all.
	Node string
	// AllProjects asks for the traces of every project of every account, and for
	// those of the cluster itself.
	AllProjects bool
	// Wait is for how long a page of following waits for its first trace.
	Wait time.Duration
}

// TracePage is one page of the traces of all nodes.
type TracePage struct {
	Traces  []wire.Trace
	Marker  string   // of the next page; empty: there is none
	Missing []string // members that could not be asked
	Damaged []string // what could not be searched on those that were
}

// TraceSearch looks for traces on every node. An error of KindInvalid is about
// the marker or the node.
type TraceSearch func(ctx context.Context, q TraceQuery) (TracePage, error)

// The operations of the trace service.
var (
	OpListTraces   = Operation{"listTraces", policy.ActionListTraces, "trace"}
	OpFollowTraces = Operation{"followTraces", policy.ActionListTraces, "trace"}
	// What is needed besides for the traces of others.
	opListAllTraces = Operation{"listAllTraces", policy.ActionListAllTraces, "trace"}
)

// SearchTraces returns traces of the call's project, or of all where the caller
// may see them.
func (s *Service) SearchTraces(ctx context.Context, c *Call, q TraceQuery) (TracePage, error) {
	return c.traces(ctx, q, s.search)
}

// FollowTraces returns what was traced after a page. What following itself
// leaves in the log is not shown, unless it is asked for by name: it would
// never end.
func (s *Service) FollowTraces(ctx context.Context, c *Call, q TraceQuery) (TracePage, error) {
	if q.TraceName == "" {
		q.Except = OpFollowTraces.Name
	}
	page, err := c.traces(ctx, q, s.follow)
	if err != nil || q.Nobody {
		return page, err
	}
	// It may have waited: who may not see traces any more is shown none.
	if err := s.Current(ctx); err != nil {
		return TracePage{}, err
	}
	c.Root = s.replica.Root()
	if err := c.mayList(q.AllProjects); err != nil {
		return TracePage{}, err
	}
	return page, nil
}

func (c *Call) traces(ctx context.Context, q TraceQuery, search TraceSearch) (TracePage, error) {
	c.record.Service = audit.ServiceCTS
	c.asked.Text("resource_id", q.ResourceID)
	c.asked.Text("trace_id", q.TraceID)
	c.asked.Text("trace_name", q.TraceName)
	c.asked.Text("node_id", q.Node)
	c.asked.Number("limit", int64(q.Limit))
	if q.AllProjects {
		c.asked.Flag("all_projects", true)
	}
	if err := c.mayList(q.AllProjects); err != nil {
		return TracePage{}, err
	}
	if !q.AllProjects {
		q.ProjectID = c.in.Project
	}
	if q.Nobody {
		return TracePage{}, nil
	}
	page, err := search(ctx, q)
	c.answered.Number("count", int64(len(page.Traces)))
	if len(page.Missing) > 0 {
		c.answered.Texts("missing_nodes", page.Missing)
	}
	return page, err
}

// mayList asks whether the caller may see traces.
func (c *Call) mayList(all bool) error {
	if err := c.authorise(); err != nil || !all {
		return err
	}
	c.acting = &opListAllTraces
	defer func() { c.acting = nil }()
	return c.authorise()
}
