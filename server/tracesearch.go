package server

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Traces lie on the node that answered the call. A search asks every node, and
// merges what they find by the time at which it was recorded. Pages go on where
// each node has stopped: a marker says that for every node, so that no trace is
// left out or comes twice whatever clocks do, and what is recorded meanwhile
// moves nothing.

const (
	callSearchTraces = "traces.search"
	// searchTimeout bounds a page: a node that has not found all by then says
	// how far it has come, and the page goes no further.
	searchTimeout = 5 * time.Second
	nodeSearch    = 4 * time.Second // of it, for looking
	// maxSearchReply bounds what a node answers, below the limit of a call.
	maxSearchReply = 700 << 10
	maxMarker      = 8 << 10
)

// traceMarker is where the next page begins.
type traceMarker struct {
	// Below is, for every node that was asked, the sequence below which to go
	// on; 0: there is no more.
	Below map[string]uint64 `cbor:"1,keyasint"`
	// Recorded is when the last trace of the page was recorded: nodes that were
	// not asked before go on with what they had recorded by then.
	Recorded int64 `cbor:"2,keyasint"`
	// Since holds that time for nodes that came in later: what they recorded
	// after it is not theirs to add any more.
	Since map[string]int64 `cbor:"3,keyasint,omitempty"`
}

func (m traceMarker) text() string {
	return base64.RawURLEncoding.EncodeToString(canonical.MustMarshal(m))
}

// queryOf is what a node is to be asked; ask is false when it had no more.
func (m traceMarker) queryOf(node string, q audit.Query) (own audit.Query, ask bool) {
	below, asked := m.Below[node]
	q.RecordedBy = m.Since[node]
	if asked {
		q.Below = below
	} else {
		q.RecordedBy = m.Recorded
	}
	return q, !asked || below != 0
}

// left are the nodes that have left the cluster since the page before, and had
// more to say: what they hold cannot be searched any more.
func (m traceMarker) left(members []string) (left []nodeAnswer) {
	for node, below := range m.Below {
		if below != 0 && !slices.Contains(members, node) {
			left = append(left, nodeAnswer{node: node, err: errLeft})
		}
	}
	return left
}

var errLeft = errors.New("the node has left the cluster")

var errMarker = &kms.Error{Kind: kms.KindInvalid, Parameter: "marker", Message: "the marker is not one that a page of traces ended with"}

func parseTraceMarker(text string) (m traceMarker, err error) {
	if text == "" {
		return m, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxMarker {
		return m, errMarker
	}
	if err := canonical.Unmarshal(raw, &m); err != nil || len(m.Below) == 0 || m.text() != text {
		return m, errMarker // a text in base64 has more than one spelling; one is ours
	}
	return m, nil
}

// nodeAnswer is what one node has found.
type nodeAnswer struct {
	node string
	audit.Answer
	err error
}

// searchTraces is the [kms.TraceSearch] of a member.
func (s *Server) searchTraces(ctx context.Context, m *member, q kms.TraceQuery) (kms.TracePage, error) {
	marker, err := parseTraceMarker(q.Marker)
	if err != nil {
		return kms.TracePage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	q.MaxBytes = maxSearchReply
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		answers []nodeAnswer
	)
	nodes, err := s.nodesAsked(q)
	if err != nil {
		return kms.TracePage{}, err
	}
	if q.Node == "" {
		answers = marker.left(nodes)
	}
	for _, node := range nodes {
		own, ask := marker.queryOf(node, q.Query)
		if !ask {
			continue
		}
		all.Go(func() {
			a, err := askNode[audit.Answer](ctx, m, node, callSearchTraces, own)
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, nodeAnswer{node, a, err})
		})
	}
	all.Wait()
	slices.SortFunc(answers, func(a, b nodeAnswer) int {
		if a.node < b.node {
			return -1
		}
		return 1
	})
	page, err := mergeTraces(answers, marker, q.Limit, q.ProjectID)
	if err != nil {
		return page, err
	}
	for i := range page.Traces {
		page.Traces[i] = s.located(page.Traces[i])
	}
	return page, nil
}

// located adds to a trace where the node is that answered, and the account of
// the project.
func (s *Server) located(t wire.Trace) wire.Trace {
	root := s.machine.State()
	if project, ok := root.Project(t.ProjectID); ok {
		t.AccountID = project.DomainID
	}
	if node, ok := root.Node(t.NodeID); ok {
		if u, err := url.Parse(node.APIURL); err == nil {
			t.Endpoint = u.Host
		}
	}
	return t
}

// mergeTraces makes a page of what nodes have found, for who looks through a
// project; empty: through all.
func mergeTraces(answers []nodeAnswer, marker traceMarker, limit int, projectID string) (page kms.TracePage, err error) {
	next := traceMarker{Below: make(map[string]uint64), Recorded: marker.Recorded, Since: make(map[string]int64)}
	maps.Copy(next.Below, marker.Below)
	maps.Copy(next.Since, marker.Since)
	taken := make([]int, len(answers))
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			page.Missing = append(page.Missing, a.node)
		}
		for _, place := range a.Damaged {
			page.Damaged = append(page.Damaged, a.node+": "+place)
		}
	}
	for len(page.Traces) < limit {
		newest := -1
		for i := range answers {
			a := &answers[i]
			if a.err != nil {
				continue
			}
			if taken[i] == len(a.Found) {
				if a.Next != 0 {
					newest = -1 // what it has next may be newer than all others'
					break
				}
				continue
			}
			if newest < 0 || a.Found[taken[i]].RecordTime > answers[newest].Found[taken[newest]].RecordTime {
				newest = i
			}
		}
		if newest < 0 {
			break
		}
		found := &answers[newest].Found[taken[newest]]
		taken[newest]++
		t, err := found.ShowIn(projectID)
		if err != nil {
			return page, err
		}
		page.Traces = append(page.Traces, t)
		next.Recorded = found.RecordTime
	}
	if len(marker.Below) > 0 {
		for i := range answers {
			if _, before := marker.Below[answers[i].node]; !before && answers[i].err == nil {
				next.Since[answers[i].node] = marker.Recorded
			}
		}
	}
	more := false
	for i := range answers {
		a := &answers[i]
		switch {
		case a.err != nil:
			continue // it keeps its place
		case taken[i] < len(a.Found):
			next.Below[a.node] = a.Found[taken[i]].Sequence + 1
		default:
			next.Below[a.node] = a.Next
		}
		more = more || next.Below[a.node] != 0
	}
	if more {
		page.Marker = next.text()
	}
	return page, nil
}

// askNode asks one node, this one, too.
func askNode[A any](ctx context.Context, m *member, node, call string, question any) (a A, err error) {
	body, err := cbor.Marshal(question)
	if err != nil {
		return a, err
	}
	raw, err := m.node.Call(ctx, node, call, body)
	if err != nil {
		return a, err
	}
	return a, cbor.Unmarshal(raw, &a)
}

// answerSearch is what a member answers.
func (s *Server) answerSearch(ctx context.Context, _ string, body []byte) ([]byte, error) {
	var q audit.Query
	if err := cbor.Unmarshal(body, &q); err != nil {
		return nil, refuseRemote("the query for traces cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, nodeSearch)
	defer cancel()
	q.MaxBytes = min(q.MaxBytes, maxSearchReply)
	a, err := s.traces.Search(ctx, q)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return cbor.Marshal(a)
}
