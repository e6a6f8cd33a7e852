package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// Every node reads its own trace log and compares it with the checkpoints that
// the asking node has of it. A node answers for itself: one that is not to be
// believed is checked with a copy of its directory (`kmsctl audit verify DIR`).

const (
	callVerifyTraces = "traces.verify"
	// verifyTracesTimeout bounds the reading of one node's log: some 10 GB.
	verifyTracesTimeout = 110 * time.Second
	// maxSentCheckpoints bounds what is sent along.
	maxSentCheckpoints = 400
)

// verifyTracesRequest is what a node is asked.
type verifyTracesRequest struct {
	Since       int64          `json:"since,omitempty"` // Unix milliseconds
	Checkpoints []audit.Signed `json:"checkpoints"`
}

// verifyTraces has nodes check their trace logs: one, or all.
func (s *Server) verifyTraces(ctx context.Context, req wire.VerifyTracesRequest) (*wire.VerifyTracesReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	stale := s.staleness(ctx, m)
	var ids []string
	for _, node := range s.machine.State().Nodes() {
		if req.NodeID == "" || req.NodeID == node.ID {
			ids = append(ids, node.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("the cluster has no node %q", req.NodeID)
	}
	reply := &wire.VerifyTracesReply{Sound: true, Stale: stale, Nodes: make([]wire.TraceReport, len(ids))}
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { reply.Nodes[i] = s.verifyTracesOf(ctx, m, id, req.Since) })
	}
	all.Wait()
	for i := range reply.Nodes {
		reply.Sound = reply.Sound && reply.Nodes[i].Fault == "" && reply.Nodes[i].Problem == ""
	}
	return reply, nil
}

// staleness says in words that this node's state may be an old one; empty: it is
// current. Whoever wants to know what happened must not have to wait for a
// leader: what a state says of traces is signed, and stays true.
func (s *Server) staleness(ctx context.Context, m *member) string {
	err := m.service.Current(ctx)
	if err == nil {
		return ""
	}
	s.cfg.Logger.Warn("traces are verified by a state that may be old", "error", err)
	return "this node cannot prove that its state is current: nodes and checkpoints that it has not heard of are left out"
}

// verifyTracesOf asks one node, and says why when it could not be asked.
func (s *Server) verifyTracesOf(ctx context.Context, m *member, id string, since time.Time) wire.TraceReport {
	problem := func(format string, args ...any) wire.TraceReport {
		return wire.TraceReport{NodeID: id, Problem: fmt.Sprintf(format, args...)}
	}
	checkpoints, err := m.publisher.of(id)
	if err != nil {
		return problem("the checkpoints of it that are kept here cannot be read: %v", err)
	}
	req := verifyTracesRequest{Checkpoints: checkpoints}
	if !since.IsZero() {
		req.Since = since.UnixMilli()
	}
	body, err := json.Marshal(req)
	if err != nil {
		return problem("asking it: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTracesTimeout)
	defer cancel()
	raw, err := m.node.Call(ctx, id, callVerifyTraces, body)
	if err != nil {
		return problem("it cannot be asked, or has not read its traces in time (try --since): %v", err)
	}
	var report wire.TraceReport
	if err := json.Unmarshal(raw, &report); err != nil {
		return problem("its answer cannot be read: %v", err)
	}
	report.NodeID = id
	return report
}

// of returns what this node has of another one's checkpoints: those of the
// state, and those that it keeps which are signed with a key that the state
// knows. The oldest and the newest are the ones that matter; where there are
// too many, every second of those between is left out, again and again.
func (p *publisher) of(nodeID string) ([]audit.Signed, error) {
	copies, err := p.copies.Of(nodeID)
	if err != nil {
		return nil, err
	}
	var all []audit.Signed
	keys, seen := make(map[string]bool), make(map[string]bool)
	root := p.server.machine.State()
	admitted := int64(0)
	if node, ok := root.Node(nodeID); ok {
		admitted = node.Created
	}
	if log, ok := root.TraceLog(nodeID); ok {
		for _, c := range log.Checkpoints {
			keys[c.Key] = true
			if !seen[string(c.Note)] {
				seen[string(c.Note)] = true
				all = append(all, audit.Signed{Key: c.Key, Note: string(c.Note), Kept: c.Time})
			}
		}
	}
	for _, c := range copies {
		if keys[c.Key] && !seen[c.Note] {
			seen[c.Note] = true
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b audit.Signed) int { return cmp.Compare(a.Kept, b.Kept) })
	for i := range all {
		all[i].Before = all[i].Kept <= admitted
	}
	for len(all) > maxSentCheckpoints {
		kept := all[:0]
		for i, c := range all {
			if i%2 == 0 || i == len(all)-1 {
				kept = append(kept, c)
			}
		}
		all = kept
	}
	return all, nil
}

// answerVerifyTraces checks this node's log.
func (s *Server) answerVerifyTraces(ctx context.Context, body []byte) ([]byte, error) {
	var req verifyTracesRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, refuseRemote("the request to verify traces cannot be decoded")
	}
	against := audit.Against{Since: req.Since}
	own, _ := s.traces.Checkpoint("")
	for i := range req.Checkpoints {
		signed := &req.Checkpoints[i]
		c, err := signed.Open()
		if err != nil {
			return nil, refuseRemote("a checkpoint cannot be opened: %v", err)
		}
		if c.Log == own.Log || !signed.Before {
			against.Checkpoints = append(against.Checkpoints, c)
		}
	}
	report, err := s.traces.Verify(ctx, against)
	if err != nil {
		return nil, err
	}
	return json.Marshal(report.Wire())
}

// traceKeys are the public keys of every node's checkpoints.
func (s *Server) traceKeys(ctx context.Context) (*wire.TraceKeysReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	reply := &wire.TraceKeysReply{Keys: []wire.TraceKey{}, Stale: s.staleness(ctx, m)}
	for log := range s.machine.State().TraceLogs() {
		seen := make(map[string]bool)
		for _, c := range log.Checkpoints {
			if !seen[c.Key] {
				seen[c.Key] = true
				reply.Keys = append(reply.Keys, wire.TraceKey{NodeID: log.NodeID, Key: c.Key, Since: time.UnixMilli(c.Time).UTC()})
			}
		}
	}
	return reply, nil
}
