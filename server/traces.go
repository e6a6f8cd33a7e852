package server

import (
	"context"
	"errors"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// watchedTraces is the node's trace log. A log whose disk has failed, or does
// not answer, ends the process: what it would answer could not be traced.
type watchedTraces struct {
	server *Server
}

// Append implements [kms.Traces].
func (w watchedTraces) Append(ctx context.Context, record *audit.Record) error {
	markTraced(ctx, record)
	return w.wrote(record, w.server.traces.Append(ctx, record))
}

// Reserve implements [kms.Traces].
func (w watchedTraces) Reserve(ctx context.Context) (*audit.Room, error) {
	room, err := w.server.traces.Reserve(ctx)
	return room, w.watch(err)
}

// AppendTo implements [kms.Traces].
func (w watchedTraces) AppendTo(ctx context.Context, room *audit.Room, record *audit.Record) error {
	markTraced(ctx, record)
	return w.wrote(record, room.Append(ctx, record))
}

// wrote counts a trace whose writing has ended with err.
func (w watchedTraces) wrote(record *audit.Record, err error) error {
	w.server.metrics.traced(record.Rating, err)
	return w.watch(err)
}

func (w watchedTraces) watch(err error) error {
	if errors.Is(err, audit.ErrDamaged) {
		w.server.fail(err)
	}
	return err
}

// stallPeriod is the time between two looks at whether the traces' disk answers.
const stallPeriod = time.Second

// watchTraces ends the process when the traces' disk does not answer. Who waits
// for it cannot: a call that hangs there has no deadline, and its record may
// still be written. It looks twice: to a process that was put aside, the disk
// seems not to have answered for as long.
func (s *Server) watchTraces(ctx context.Context) {
	ticker := time.NewTicker(stallPeriod)
	defer ticker.Stop()
	for seen := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := s.traces.Stalled()
		if err == nil {
			seen = 0
		} else if seen++; seen > 1 {
			s.cfg.Logger.Error("the node cannot go on", "error", err)
			s.fail(err)
			return
		}
	}
}
