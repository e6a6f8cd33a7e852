package server

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// events are what happens to a node without anybody asking: they are traced as
// SystemActions. Whoever sees one must not wait for a disk (Raft's goroutines,
// for instance), so they are written by a goroutine of their own, in their
// order. They are rare.
type events struct {
	mu    sync.Mutex
	queue []event
	wake  chan struct{} // has room for one
}

type event struct {
	op   kms.Operation
	tell func(c *kms.Call)
}

func newEvents() *events { return &events{wake: make(chan struct{}, 1)} }

// note has an event traced, soon. tell puts in what the trace may tell.
func (e *events) note(op kms.Operation, tell func(c *kms.Call)) {
	e.mu.Lock()
	e.queue = append(e.queue, event{op, tell})
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *events) take() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.queue
	e.queue = nil
	return taken
}

// eventPause is how long an event waits whose trace could not be written, for
// want of room.
const eventPause = time.Second

// writeEvents writes what is noted until ctx ends, and then what is left.
func (s *Server) writeEvents(ctx context.Context, m *member) {
	for {
		for _, e := range s.events.take() {
			s.writeEvent(ctx, m, e)
		}
		select {
		case <-ctx.Done():
			for _, e := range s.events.take() {
				s.writeEvent(ctx, m, e)
			}
			return
		case <-s.events.wake:
		}
	}
}

// writeEvent writes one event, and waits for room as long as the node runs.
func (s *Server) writeEvent(ctx context.Context, m *member, e event) {
	for {
		err := m.service.Note(context.WithoutCancel(ctx), e.op, nil, e.tell)
		if !errors.Is(err, audit.ErrFull) || ctx.Err() != nil {
			if err != nil {
				s.cfg.Logger.Error("tracing an event of this node", "event", e.op.Name, "error", err)
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(eventPause):
		}
	}
}

// memberWatch has the leader trace what changes in Raft's configuration, and
// every node that it gained or lost the leadership.
type memberWatch struct {
	led   bool
	known map[string]cluster.Member // nil until they were seen once
}

// look notes what has changed since it looked before.
func (w *memberWatch) look(e *events, led bool, term uint64, members []cluster.Member) {
	if led != w.led {
		op := kms.OpLoseLeadership
		if led {
			op = kms.OpGainLeadership
		}
		e.note(op, func(c *kms.Call) { c.Asked().Number("term", int64(term)) })
		w.led = led
	}
	if members == nil {
		return
	}
	now := make(map[string]cluster.Member, len(members))
	for _, m := range members {
		now[m.ID] = m
		before, known := w.known[m.ID]
		if w.known != nil && led && (!known || before.Voter != m.Voter) {
			e.note(kms.OpChangeMember, tellMember(m.ID, role(m)))
		}
	}
	for id := range w.known {
		if _, there := now[id]; !there && led {
			e.note(kms.OpChangeMember, tellMember(id, "removed"))
		}
	}
	w.known = now
}

func tellMember(id, role string) func(c *kms.Call) {
	return func(c *kms.Call) {
		c.AboutResource(id, "")
		c.Asked().Text("role", role)
	}
}

func role(m cluster.Member) string {
	if m.Voter {
		return "voter"
	}
	return "standby"
}

// watchPeriod is how often the configuration and the leadership are looked at.
const watchPeriod = 500 * time.Millisecond

// watchMembers notes changes until ctx ends.
func (s *Server) watchMembers(ctx context.Context, m *member) {
	var w memberWatch
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	for {
		members, err := m.node.Members(ctx)
		if err != nil {
			members = nil
		}
		w.look(s.events, m.node.IsLeader(), m.node.Status().Term, members)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// noteSnapshot notes that the state was written as a snapshot, or replaced by
// one.
func (e *events) noteSnapshot(op kms.Operation, index uint64) {
	if e == nil {
		return // somebody only looks at a state
	}
	e.note(op, func(c *kms.Call) { c.AboutResource(strconv.FormatUint(index, 10), "") })
}
