package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// needs is what others still need of the log. Both positions only grow, and
// whoever gives them goes through the log from its beginning to its end: so the
// oldest segments are always those that leave with the least loss.
type needs struct {
	exported  *uint64 // exporters have sent all lines with a lower sequence; nil: nothing is exported
	published *uint64 // checkpoints that others hold cover all lines with a lower sequence; nil: nothing is published
}

// Exported tells the log the lowest sequence that an exporter still needs. What
// exporters need is not removed because of its age. A limit of size and a full
// disk do remove it, since no remote party may stop the node; the mark in the
// log says so. Where nothing is exported, Exported is never called.
func (l *Log) Exported(next uint64) { l.need(&l.needs.exported, next) }

// Published tells the log that others hold a checkpoint that covers all lines
// below next. It is with checkpoints as with exporters.
func (l *Log) Published(next uint64) { l.need(&l.needs.published, next) }

func (l *Log) need(position **uint64, next uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *position == nil || **position < next {
		*position = &next // a new one: a writer may look at the old one
	}
}

// first is the first sequence from..before-1 that is still needed at a
// position; 0: none.
func first(position *uint64, from, before uint64) uint64 {
	if position == nil || *position >= before {
		return 0
	}
	return max(from, *position)
}

// retain removes the segments that are older, or more, than is to be kept. The
// open one stays.
func (w *writer) retain(now time.Time) {
	if time.Now().Before(w.retainAt) {
		return
	}
	w.retainAt = time.Now().Add(retainEvery)
	passed := now
	if w.cfg.Vouched != nil {
		if vouched := w.cfg.Vouched(); vouched.Before(passed) {
			passed = vouched
		}
	}
	limit := passed.Add(-w.cfg.RetentionAge).UnixMilli()
	old := 0
	for i, s := range w.segments[1:] {
		// A segment is as old as its newest line, and that is older than the
		// segment behind it.
		if s.created > limit || w.needed(1, s.first) {
			break
		}
		if s.created > 0 {
			old = i + 1
		}
	}
	w.drop(now, old, reasonAge)

	size := w.open.prepared
	for _, s := range w.segments[:len(w.segments)-1] {
		size += s.size
	}
	more := 0
	for size > w.cfg.RetentionSize && more < len(w.segments)-1 {
		size -= w.segments[more].size
		more++
	}
	w.drop(now, more, reasonSize)
}

// needed tells whether others still need lines from..before-1.
func (w *writer) needed(from, before uint64) bool {
	return first(w.needs.exported, from, before) != 0 || first(w.needs.published, from, before) != 0
}

// drop removes the oldest n segments. The log says so before it happens: a
// crash between the two is made good when the log is opened. Only when the disk
// is so full that not even that can be written, it is written afterwards.
func (w *writer) drop(now time.Time, n int, reason string) {
	if n == 0 || w.failed != nil {
		return
	}
	m := Mark{Kind: MarkDropped, Time: now.UnixMilli(), Reason: reason, From: w.segments[0].first, Before: w.segments[n].first, Count: uint64(n)}
	m.Unexported, m.Unpublished = first(w.needs.exported, m.From, m.Before), first(w.needs.published, m.From, m.Before)
	size := int64(len(m.body()) + frameSize)
	if fits := w.marked+size <= w.open.free(); !fits && reason != reasonFull {
		return
	}
	w.mark(m)
	w.write(nil)
	if w.failed != nil {
		return
	}
	w.cfg.Logger.Info("removing the oldest segments of the trace log", "reason", reason, "segments", n, "from", m.From, "before", m.Before)
	if m.Unexported != 0 {
		w.cfg.Logger.Error("traces were removed for want of room before they were exported", "from", m.Unexported, "before", m.Before)
	}
	w.oldest = m.Before
	w.remove(n)
}

// remove removes the files of the oldest n segments. What cannot be removed is
// tried again when the log is opened.
func (w *writer) remove(n int) {
	for _, s := range w.segments[:n] {
		// Both forms are there while it is being packed.
		for _, name := range []string{segmentName(s.first), packedName(s.first), indexName(s.first)} {
			if err := os.Remove(filepath.Join(w.dir.Name(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				w.cfg.Logger.Error("removing a segment of the trace log", "error", err)
			}
		}
	}
	w.segments = append(w.segments[:0], w.segments[n:]...)
	w.changed = true
	if err := w.dir.Sync(); err != nil {
		w.cfg.Logger.Error("syncing the directory of the trace log", "error", err)
	}
}
