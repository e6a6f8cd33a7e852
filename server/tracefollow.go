package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// Following is a search that goes the other way: a page holds what came after
// the page before, node by node and by sequence. So nothing is left out and
// nothing comes twice, whatever happens to segments and nodes between. A node
// that cannot be asked keeps its place.

const (
	callFollowTraces = "traces.follow"
	// followPause is the time from one look at the nodes to the next, while
	// there is nothing new.
	followPause = 400 * time.Millisecond
	// maxFollowers bounds the calls that wait on a node at a time.
	maxFollowers = 64
)

// followed is where a page of following has ended. Its numbers are not those of
// [traceMarker], so that the one is never taken for the other.
type followed struct {
	// Above is, for every node that was read, the sequence above which to go on.
	Above map[string]uint64 `cbor:"11,keyasint"`
	// Since is when following began (Unix ms, this node's clock): of nodes that
	// come later, what is older is not shown.
	Since int64 `cbor:"12,keyasint"`
	// Late are the nodes that came later, and are not at their ends yet.
	Late []string `cbor:"13,keyasint,omitempty"`
}

func (f followed) text() string {
	return base64.RawURLEncoding.EncodeToString(canonical.MustMarshal(f))
}

func parseFollowed(text string) (f followed, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxMarker {
		return f, errMarker
	}
	if err := canonical.Unmarshal(raw, &f); err != nil || f.Above == nil || f.Since <= 0 || f.text() != text {
		return f, errMarker
	}
	return f, nil
}

// followAsk is what a node is asked.
type followAsk struct {
	Query audit.Query
	// Newest asks for the newest traces, and where the log ends.
	Newest bool
	Above  uint64
}

// followAnswer is what it answers: the oldest first.
type followAnswer struct {
	Found   []audit.Found
	Above   uint64 // where to go on
	End     uint64
	Lost    uint64
	Damaged []string
}

// nodeFollowed is what one node has.
type nodeFollowed struct {
	node string
	followAnswer
	err error
}

// followTraces is the second [kms.TraceSearch] of a member.
func (s *Server) followTraces(ctx context.Context, m *member, q kms.TraceQuery) (kms.TracePage, error) {
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		return kms.TracePage{}, kms.Refuse(kms.KindUnavailable, "%d calls follow the traces at this node already; try another node", maxFollowers)
	}
	q.MaxBytes = maxSearchReply
	if q.Marker == "" {
		at := followed{Above: make(map[string]uint64), Since: time.Now().UnixMilli()}
		answers, err := s.askFollowed(ctx, m, q, at, true)
		if err != nil {
			return kms.TracePage{}, err
		}
		return s.followedPage(answers, at, q, true)
	}
	at, err := parseFollowed(q.Marker)
	if err != nil {
		return kms.TracePage{}, err
	}
	for until := time.Now().Add(q.Wait); ; {
		answers, err := s.askFollowed(ctx, m, q, at, false)
		if err != nil {
			return kms.TracePage{}, err
		}
		page, err := s.followedPage(answers, at, q, false)
		if err != nil || len(page.Traces) > 0 || len(page.Damaged) > 0 || time.Until(until) < followPause {
			return page, err
		}
		if at, err = parseFollowed(page.Marker); err != nil {
			return page, err
		}
		select {
		case <-ctx.Done():
			return page, nil
		case <-s.running.Done():
			return page, nil
		case <-time.After(followPause):
		}
	}
}

// askFollowed asks every node that the query is about.
func (s *Server) askFollowed(ctx context.Context, m *member, q kms.TraceQuery, at followed, newest bool) ([]nodeFollowed, error) {
	ctx, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	nodes, err := s.nodesAsked(q)
	if err != nil {
		return nil, err
	}
	answers := make([]nodeFollowed, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		ask := followAsk{Query: q.Query, Newest: newest}
		above, known := at.Above[node]
		ask.Above = above
		if !newest && (!known || slices.Contains(at.Late, node)) {
			ask.Query.After = max(ask.Query.After, at.Since)
		}
		all.Go(func() {
			answers[i].node = node
			answers[i].followAnswer, answers[i].err = askNode[followAnswer](ctx, m, node, callFollowTraces, ask)
		})
	}
	all.Wait()
	return answers, nil
}

// followedPage makes a page of what nodes have: the oldest first. Of the newest
// there are, it takes the newest.
func (s *Server) followedPage(answers []nodeFollowed, at followed, q kms.TraceQuery, newest bool) (page kms.TracePage, err error) {
	next := followed{Above: make(map[string]uint64), Since: at.Since}
	maps.Copy(next.Above, at.Above)
	limit := q.Limit
	taken := make([]int, len(answers))
	waiting := 0
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			page.Missing = append(page.Missing, a.node)
		}
		for _, place := range a.Damaged {
			page.Damaged = append(page.Damaged, a.node+": "+place)
		}
		if a.Lost > 0 {
			page.Damaged = append(page.Damaged, fmt.Sprintf("%s: %d lines were removed before they were read", a.node, a.Lost))
		}
		waiting += len(a.Found)
	}
	for skip := waiting - limit; newest && skip > 0; skip-- {
		taken[oldestOf(answers, taken, false)]++
	}
	for len(page.Traces) < limit {
		oldest := oldestOf(answers, taken, true)
		if oldest < 0 {
			break
		}
		found := &answers[oldest].Found[taken[oldest]]
		taken[oldest]++
		t, err := found.ShowIn(q.ProjectID)
		if err != nil {
			return page, err
		}
		page.Traces = append(page.Traces, s.located(t))
	}
	for i := range answers {
		a := &answers[i]
		switch {
		case a.err != nil:
			if slices.Contains(at.Late, a.node) {
				next.Late = append(next.Late, a.node)
			}
			continue // it keeps its place
		case taken[i] < len(a.Found):
			next.Above[a.node] = a.Found[taken[i]].Sequence - 1
		default:
			next.Above[a.node] = a.Above
		}
		_, known := at.Above[a.node]
		if late := !newest && !known || slices.Contains(at.Late, a.node); late && next.Above[a.node] < a.End {
			next.Late = append(next.Late, a.node)
		}
	}
	slices.Sort(next.Late)
	page.Marker = next.text()
	return page, nil
}

// oldestOf is the node whose next trace was recorded first; -1: there is none,
// or, when told to wait, one whose next traces are not known may have it.
func oldestOf(answers []nodeFollowed, taken []int, wait bool) int {
	oldest := -1
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			continue
		}
		if taken[i] == len(a.Found) {
			if wait && len(a.Found) > 0 && a.Above < a.End {
				return -1
			}
			continue
		}
		if oldest < 0 || a.Found[taken[i]].RecordTime < answers[oldest].Found[taken[oldest]].RecordTime {
			oldest = i
		}
	}
	return oldest
}

// answerFollow is what a member answers.
func (s *Server) answerFollow(ctx context.Context, _ string, body []byte) ([]byte, error) {
	var ask followAsk
	if err := cbor.Unmarshal(body, &ask); err != nil {
		return nil, refuseRemote("the query for traces cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, nodeSearch)
	defer cancel()
	ask.Query.MaxBytes = min(ask.Query.MaxBytes, maxSearchReply)
	a, err := followLog(ctx, s.traces, ask)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return cbor.Marshal(a)
}

// followLog reads one log.
func followLog(ctx context.Context, log *audit.Log, ask followAsk) (a followAnswer, err error) {
	q := ask.Query
	if ask.Newest {
		a.End = log.Durable()
		a.Above = a.End
		if a.End == 0 {
			return a, nil
		}
		q.Below = a.End + 1
		found, err := log.Search(ctx, q)
		a.Found, a.Damaged = found.Found, found.Damaged
		slices.Reverse(a.Found)
		return a, err
	}
	if log.Durable() == ask.Above {
		return followAnswer{Above: ask.Above, End: ask.Above}, nil // what is asked all the time
	}
	r, err := log.NewReader(&q)
	if err != nil {
		return a, err
	}
	defer r.Close()
	b, err := r.Read(ctx, ask.Above, q.Limit, q.MaxBytes)
	if errors.Is(err, audit.ErrBehind) {
		// Another log than the one that was followed: go on with what it has.
		a.Damaged = append(a.Damaged, err.Error())
		if b, err = r.Read(ctx, 0, q.Limit, q.MaxBytes); err != nil {
			return a, err
		}
	}
	if err != nil {
		return a, err
	}
	a.Above, a.End, a.Lost, a.Damaged = b.Above, b.End, b.Lost, append(a.Damaged, b.Damaged...)
	for i := range b.Lines {
		l := &b.Lines[i]
		a.Found = append(a.Found, audit.Found{Sequence: l.Sequence, TraceID: audit.TraceID(l.Hash), RecordTime: l.RecordTime, Body: l.Body})
	}
	return a, nil
}

// nodesAsked are the nodes whose traces a query is about, by their ids.
func (s *Server) nodesAsked(q kms.TraceQuery) (ids []string, err error) {
	for _, node := range s.machine.State().Nodes() {
		if q.Node == "" || q.Node == node.ID {
			ids = append(ids, node.ID)
		}
	}
	if len(ids) == 0 {
		return nil, &kms.Error{Kind: kms.KindInvalid, Parameter: "node_id", Message: fmt.Sprintf("the cluster has no node %q", cut(q.Node))}
	}
	slices.Sort(ids)
	return ids, nil
}

// cut shortens what a caller has said, to be said again.
func cut(text string) string {
	if len(text) <= 64 {
		return text
	}
	return strings.ToValidUTF8(text[:64], "") + "…"
}
