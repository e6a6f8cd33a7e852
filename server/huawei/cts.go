package huawei

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The vendor's trace service (CTS), as far as it is about the traces of this
// one. Its errors have codes of their own in the same shape.

// Bounds of a query for traces.
const (
	tracesLimit    = 10 // when the query names none
	maxTracesLimit = 200
	tracesWithin   = time.Hour // when the query names no time
	trackerSystem  = "system"
	maxTracker     = 64 // characters
	maxEnterprise  = 36

	// Of the extension that follows traces.
	maxTraceWait = 10 * time.Second
	scopeAll     = "all"

	notForFollowing = "is not for following"
)

var ctsKinds = map[kms.Kind]string{
	kms.KindForbidden:    "CTS.0013",
	kms.KindWrongProject: "CTS.0002",
	kms.KindInvalid:      "CTS.0003",
	kms.KindUnavailable:  "CTS.0005",
	kms.KindInternal:     "CTS.0005",
	kms.KindTraceFailed:  "CTS.0005",
}

// ListTraces is the query of v3: GET traces.
var ListTraces = endpoint(kms.OpListTraces, func(ctx context.Context, x *exchange, req *wire.ListTracesRequest) (reply wire.ListTracesReply, err error) {
	switch req.TraceType {
	case "", trackerSystem, "data":
	default:
		return reply, invalid("trace_type", "must be system or data")
	}
	return x.listTraces(ctx, req)
}).with(ctsKinds, ctsMembers)

// ListTracesOfTracker is the query of v1.0 and v2.0: GET {tracker_name}/trace.
var ListTracesOfTracker = endpoint(kms.OpListTraces, func(ctx context.Context, x *exchange, req *wire.ListTracesRequest) (reply wire.ListTracesReply, err error) {
	req.TraceType, req.TrackerName = "", x.path.Tracker
	return x.listTraces(ctx, req)
}).with(ctsKinds, ctsMembers)

// FollowTraces is an extension: GET traces/follow. Without a marker it answers
// with the newest traces, the oldest of them first; with the marker of the page
// before, with what came after that, and waits for it.
var FollowTraces = endpoint(kms.OpFollowTraces, func(ctx context.Context, x *exchange, req *wire.ListTracesRequest) (reply wire.ListTracesReply, err error) {
	q, err := traceQuery(req, time.Now())
	if err != nil {
		return reply, err
	}
	switch {
	case req.From.Set:
		return reply, invalid("from", notForFollowing)
	case req.To.Set:
		return reply, invalid("to", notForFollowing)
	case req.TraceID != "":
		return reply, invalid("trace_id", notForFollowing)
	case req.TraceType != "":
		return reply, invalid("trace_type", notForFollowing)
	case req.TrackerName != "":
		return reply, invalid("tracker_name", notForFollowing)
	}
	q.After, q.Before = 0, 0
	q.Nobody = !ofDefaultEnterprise(req.Enterprise)
	if wait := req.Wait; wait.Set {
		if wait.Value < 0 || wait.Value > int64(maxTraceWait/time.Second) {
			return reply, invalid("wait", "must be 0 to 10 seconds")
		}
		q.Wait = time.Duration(wait.Value) * time.Second
	}
	page, err := x.FollowTraces(ctx, x.call, q)
	if err != nil {
		return reply, err
	}
	return tracesReply(page), nil
}).with(ctsKinds, ctsMembers)

// ctsMembers are the codes of arguments: one for all.
var ctsMembers = map[string]string{
	"trace_type": "CTS.0003", "limit": "CTS.0003", "from": "CTS.0003", "to": "CTS.0003", "next": "CTS.0003", "tracker_name": "CTS.0003",
	"trace_rating": "CTS.0003", "trace_id": "CTS.0003", "sequence": "CTS.0003", "service_type": "CTS.0003", "user": "CTS.0003",
	"resource_id": "CTS.0003", "resource_name": "CTS.0003", "resource_type": "CTS.0003", "trace_name": "CTS.0003",
	"access_key_id": "CTS.0003", "request_id": "CTS.0003", "enterprise_project_id": "CTS.0003",
	"source_ip": "CTS.0003", "user_id": "CTS.0003", "code": "CTS.0003", "node_id": "CTS.0003", "scope": "CTS.0003", "wait": "CTS.0003",
}

func (x *exchange) listTraces(ctx context.Context, req *wire.ListTracesRequest) (reply wire.ListTracesReply, err error) {
	q, err := traceQuery(req, time.Now())
	if err != nil {
		return reply, err
	}
	if req.Wait.Set {
		return reply, invalid("wait", "is for following")
	}
	// There is one tracker, of management; it has everything.
	q.Nobody = req.TraceType == "data" || req.TrackerName != "" && req.TrackerName != trackerSystem || !ofDefaultEnterprise(req.Enterprise)
	page, err := x.SearchTraces(ctx, x.call, q)
	if err != nil {
		return reply, err
	}
	return tracesReply(page), nil
}

// ofDefaultEnterprise tells whether traces may be of an enterprise project:
// everything here is of the default one.
func ofDefaultEnterprise(id string) bool { return id == "" || id == "0" || id == "all_granted_eps" }

func tracesReply(page kms.TracePage) wire.ListTracesReply {
	reply := wire.ListTracesReply{Traces: page.Traces, MetaData: wire.TraceMetaData{Count: len(page.Traces), MissingNodes: page.Missing, Damaged: page.Damaged}}
	if page.Traces == nil {
		reply.Traces = []wire.Trace{} // never null
	}
	if page.Marker != "" {
		reply.MetaData.Marker = &page.Marker
	}
	return reply
}

// traceQuery checks the arguments of a query.
func traceQuery(req *wire.ListTracesRequest, now time.Time) (q kms.TraceQuery, err error) {
	q = kms.TraceQuery{Marker: req.Next, Node: req.NodeID, Query: audit.Query{
		TraceID: req.TraceID, TraceName: req.TraceName, Rating: req.TraceRating, Service: req.ServiceType,
		ResourceType: req.ResourceType, ResourceID: req.ResourceID, ResourceName: req.ResourceName,
		RequestID: req.RequestID, UserName: req.User, UserID: req.UserID, AccessKeyID: req.AccessKeyID,
		SourceIP: req.SourceIP, Code: req.Code, Limit: tracesLimit,
	}}
	switch req.Scope {
	case "":
	case scopeAll:
		q.AllProjects = true
	default:
		return q, invalid("scope", "must be all, or absent")
	}
	if limit := req.Limit; limit.Set {
		if limit.Value < 1 || limit.Value > maxTracesLimit {
			return q, invalid("limit", "must be 1 to 200")
		}
		q.Limit = int(limit.Value)
	}
	if !slices.Contains([]string{"", "normal", "warning", "incident"}, req.TraceRating) {
		return q, invalid("trace_rating", "must be normal, warning or incident")
	}
	if req.TraceID != "" && !isUUID(req.TraceID, isAlphanumeric) {
		return q, invalid("trace_id", "must have the shape of a UUID")
	}
	// No trace has what is longer: nothing is cut here until something fits.
	if name, most, is := q.Overlong(); is {
		return q, invalid(name, fmt.Sprintf("must have at most %d bytes: traces keep no more", most))
	}
	if len(req.TrackerName) > maxTracker {
		return q, invalid("tracker_name", fmt.Sprintf("must have at most %d characters", maxTracker))
	}
	if len(req.Enterprise) > maxEnterprise {
		return q, invalid("enterprise_project_id", fmt.Sprintf("must have at most %d characters", maxEnterprise))
	}
	if req.From.Set != req.To.Set {
		return q, invalid("from", "and to are given together or not at all")
	}
	switch {
	case req.TraceID != "":
	case !req.From.Set:
		q.After = now.Add(-tracesWithin).UnixMilli()
	case !isMillis(req.From.Value):
		return q, invalid("from", "must be a time in milliseconds since 1970, of 13 digits")
	case !isMillis(req.To.Value):
		return q, invalid("to", "must be a time in milliseconds since 1970, of 13 digits")
	case req.From.Value >= req.To.Value:
		return q, invalid("from", "must be before to")
	default:
		q.After, q.Before = req.From.Value, req.To.Value
	}
	return q, nil
}

// isMillis tells whether a number has 13 digits.
func isMillis(n int64) bool { return 1e12 <= n && n < 1e13 }
