package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// Trace is the record of one operation.
type Trace = wire.Trace

// TraceFilter says which traces are looked for: those that all of its fields
// fit. What is empty fits every trace.
type TraceFilter struct {
	TraceID      string // overrides all others
	Name         string // of the operation, e.g. createDataKey
	Rating       string // normal, warning or incident
	Service      string // KMS, CTS or IAM
	ResourceType string // cmk, rng …
	ResourceID   string // e.g. a key's id
	ResourceName string
	RequestID    string
	User         string // name
	UserID       string
	AccessKeyID  string
	Source       string // IP address of the client
	Code         string // HTTP status

	// Node is the id of the node whose traces are looked for; empty: all nodes.
	Node string
	// AllProjects looks for traces of every project of every account, and those
	// of the cluster itself. It takes a permission of its own.
	AllProjects bool
	// After and Before bound the time of a trace, to the millisecond, both
	// exclusive; zero: no bound. They are not for following.
	After, Before time.Time
}

// TracePage is one page of traces.
type TracePage struct {
	Traces []Trace `json:"traces"`
	// Next is where to go on: of a search empty when there is no more, of
	// following never.
	Next string `json:"next,omitempty"`
	// Missing are nodes that could not be asked: their traces are not here.
	Missing []string `json:"missing_nodes,omitempty"`
	// Damaged names what could not be read, or is not as it was written.
	Damaged []string `json:"damaged,omitempty"`
}

// SearchTraces returns a page of at most limit (1 to 200) traces of all nodes,
// the newest first. next is Next of the page before; empty: the first page.
func (c *Client) SearchTraces(ctx context.Context, f TraceFilter, next string, limit int) (TracePage, error) {
	q := f.query(next, limit)
	if f.TraceID == "" {
		from, to := earliestTrace, latestTrace
		if !f.After.IsZero() {
			from = max(from, f.After.UnixMilli())
		}
		if !f.Before.IsZero() {
			to = min(to, f.Before.UnixMilli())
		}
		q.Set("from", strconv.FormatInt(from, 10))
		q.Set("to", strconv.FormatInt(to, 10))
	}
	return c.traces(ctx, "traces", q)
}

// FollowTraces returns what came after a page, the oldest first, and waits up to
// wait (at most 4 s) for it. With next empty it returns the newest traces, from
// which following goes on. Nothing is left out and nothing comes twice, even
// when nodes stop and start again.
func (c *Client) FollowTraces(ctx context.Context, f TraceFilter, next string, limit int, wait time.Duration) (TracePage, error) {
	q := f.query(next, limit)
	q.Set("wait", strconv.Itoa(int(min(wait, 4*time.Second)/time.Second)))
	return c.traces(ctx, "traces/follow", q)
}

const (
	// traceSearch is longer than a node looks for traces before it says how far
	// it has come.
	traceSearch = 15 * time.Second

	// The least and the most that the service takes for a time, in Unix ms.
	earliestTrace int64 = 1_000_000_000_000
	latestTrace   int64 = 9_999_999_999_999
)

func (f *TraceFilter) query(next string, limit int) url.Values {
	q := make(url.Values)
	for name, value := range map[string]string{
		"trace_id": f.TraceID, "trace_name": f.Name, "trace_rating": f.Rating, "service_type": f.Service,
		"resource_type": f.ResourceType, "resource_id": f.ResourceID, "resource_name": f.ResourceName, "request_id": f.RequestID,
		"user": f.User, "user_id": f.UserID, "access_key_id": f.AccessKeyID, "source_ip": f.Source, "code": f.Code, "node_id": f.Node, "next": next,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if f.AllProjects {
		q.Set("scope", "all")
	}
	q.Set("limit", strconv.Itoa(limit))
	return q
}

func (c *Client) traces(ctx context.Context, verb string, q url.Values) (TracePage, error) {
	var reply wire.ListTracesReply
	h := how{method: http.MethodGet, verb: verb, v3: true, query: q, longest: traceSearch}
	if err := c.callBy(ctx, h, again, struct{}{}, &reply); err != nil {
		return TracePage{}, err
	}
	page := TracePage{Traces: reply.Traces, Missing: reply.MetaData.MissingNodes, Damaged: reply.MetaData.Damaged}
	if reply.MetaData.Marker != nil {
		page.Next = *reply.MetaData.Marker
	}
	return page, nil
}
