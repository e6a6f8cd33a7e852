package audit

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

const (
	// fillStep is by how much a segment is prepared ahead at a time: large
	// enough to be rare, small enough to cost less than one fdatasync.
	fillStep = 256 << 10
	// markRoom is the part of the reserve that only marks may use.
	markRoom = 4 << 10
	// retryFull is how long a full disk is left alone.
	retryFull = 250 * time.Millisecond
	// retainEvery is how often retention is looked at, besides at every new
	// segment.
	retainEvery = time.Minute
)

// writer writes lines. It belongs to whoever leads.
type writer struct {
	cfg  *Config
	dir  *os.File
	fill []byte

	chain              // of what is written
	durable  uint64    // all lines with a lower sequence are on disk
	segments []segment // Invariant: the last one is open
	changed  bool      // segments has changed since the lead was handed over
	oldest   uint64    // sequence of the oldest line that is kept
	needs    needs     // what others still need
	open     *openSegment

	out    []byte   // what one write takes
	marks  [][]byte // bodies of marks to write before the next record
	marked int64    // most bytes of their lines

	rhythm rhythm

	failed    error // ErrDamaged and why
	full      error // ErrFull and why, while there is no room
	fullSince time.Time
	refused   uint64 // records since then
	retryAt   time.Time
	retainAt  time.Time
}

// damaged is what is said for good about a disk that fails.
func (c *Config) damaged(doing string, err error) error {
	c.Logger.Error("the disk of the trace log has failed; nothing is taken until the node is started again", "dir", c.Dir, "doing", doing, "error", err)
	return fmt.Errorf("%w: %s: %w", ErrDamaged, doing, err)
}

// makeRoom sees to it that taken bytes can be written and spare bytes are left
// after that, without asking the disk for more. Where there is no room it says
// so in full, and looks again after a while.
func (w *writer) makeRoom(now time.Time, taken, spare int64) {
	if w.failed != nil || w.full != nil && time.Now().Before(w.retryAt) {
		return
	}
	err := w.room(now, taken, spare)
	for noSpace(err) && w.cfg.Full == FullDropOldest && len(w.segments) > 1 {
		w.drop(now, 1, reasonFull)
		if err = w.failed; err == nil {
			err = w.room(now, taken, spare)
		}
	}
	switch {
	case w.failed != nil:
	case err == nil:
		w.endFull(now)
	case passes(err):
		w.beginFull(now, err)
	default:
		w.failed = w.cfg.damaged("making room", err)
	}
}

func (w *writer) room(now time.Time, taken, spare int64) error {
	if w.due(now, taken) {
		if err := w.roll(now, taken+spare); err != nil {
			return err
		}
		w.retainAt = time.Time{}
	}
	w.retain(now)
	if w.failed != nil {
		return w.failed
	}
	// A mark may still come on top.
	if short := taken + w.marked + spare + markRoom - w.open.free(); short > 0 {
		step := min(fillStep, w.cfg.SegmentSize)
		return w.open.prepare((short + step - 1) / step * step)
	}
	return nil
}

// due tells whether the open segment is to be followed by a new one.
func (w *writer) due(now time.Time, taken int64) bool {
	s := w.segments[len(w.segments)-1]
	if w.next == s.first {
		return false
	}
	return w.open.offset+taken+w.marked > w.cfg.SegmentSize ||
		now.UnixMilli()-s.created > w.cfg.RetentionAge.Milliseconds()/8
}

// roll closes the open segment and begins another, with room for that many
// bytes. After an error the open segment is as before.
func (w *writer) roll(now time.Time, room int64) error {
	if w.durable < w.next {
		if err := w.sync(); err != nil {
			return err
		}
	}
	old := w.open
	if err := w.begin(now, room); err != nil {
		return err
	}
	if err := old.trim(); err != nil {
		w.cfg.Logger.Warn("giving back what a segment of the trace log does not need", "error", err)
	}
	w.segments[len(w.segments)-2].size = old.prepared
	if err := old.file.Close(); err != nil {
		// Everything in it is on disk.
		w.cfg.Logger.Warn("closing a segment of the trace log", "error", err)
	}
	return nil
}

// begin makes a segment that follows what was written, and opens it.
func (w *writer) begin(now time.Time, room int64) error {
	created := now.UnixMilli()
	if n := len(w.segments); n > 0 {
		created = max(created, w.segments[n-1].created)
	}
	c := w.chain
	header := c.appendHeader(w.out[:0], w.cfg.NodeID, w.oldest, created)
	s, err := createSegment(w.cfg.open, w.dir, c.next, header, w.fill, room+w.marked+markRoom)
	if err != nil {
		return fmt.Errorf("beginning a segment: %w", err)
	}
	w.chain, w.open = c, s
	w.segments = append(w.segments, segment{first: c.next, created: created})
	w.changed = true
	return nil
}

// write writes the marks that are due and the entries of the batch that were
// admitted, and syncs where that is asked for with every write.
func (w *writer) write(batch []*entry) {
	if w.failed != nil {
		return
	}
	before := w.chain
	w.out = w.out[:0]
	marks := w.marked > 0 && w.marked <= w.open.free()
	if marks {
		w.appendMarks()
	}
	for _, e := range batch {
		if e.err == nil && e.use != useClaim {
			w.out = w.appendLine(w.out, e.body, w.durable)
		}
	}
	if len(w.out) == 0 {
		return
	}
	err := w.flush(before, marks || w.cfg.Sync == SyncAlways)
	if err == nil {
		if marks {
			w.marks, w.marked = nil, 0
		}
		return
	}
	for _, e := range batch {
		if e.err != nil || e.use == useClaim {
			continue
		}
		if e.err = w.failed; e.err == nil {
			e.err = w.refuse(e)
		}
	}
}

func (w *writer) appendMarks() {
	for _, body := range w.marks {
		w.out = w.appendLine(w.out, body, w.durable)
	}
}

// flush writes out, and goes back to before where that fails.
func (w *writer) flush(before chain, sync bool) error {
	err := w.open.write(w.out)
	switch {
	case err == nil && sync:
		return w.sync()
	case err == nil:
		return nil
	case passes(err):
		// Space that was prepared was not there: a file system that writes
		// everything to a new place.
		w.chain = before
		w.beginFull(w.cfg.Clock(), err)
	default:
		w.failed = w.cfg.damaged("writing", err)
	}
	return err
}

// sync has everything that was written on disk, or the log damaged.
func (w *writer) sync() error {
	if err := w.open.file.Datasync(); err != nil {
		w.failed = w.cfg.damaged("syncing", err)
		return w.failed
	}
	w.durable = w.next
	return nil
}

// mark has a mark written before the next record.
func (w *writer) mark(m Mark) {
	body := m.body()
	w.marks = append(w.marks, body)
	w.marked += int64(len(body) + frameSize)
}

// refuse is what is said of an entry for which there is no room.
func (w *writer) refuse(e *entry) error {
	if e.use != useClaim {
		w.refused++
	}
	if w.full == nil {
		return ErrFull
	}
	return w.full
}

func (w *writer) beginFull(now time.Time, err error) {
	w.retryAt = time.Now().Add(retryFull)
	if w.full != nil {
		return
	}
	w.full, w.fullSince, w.refused = fmt.Errorf("%w: %w", ErrFull, err), now, 0
	w.cfg.Logger.Error("the disk of the trace log is full: calls are refused until there is room", "dir", w.cfg.Dir, "error", err)
}

func (w *writer) endFull(now time.Time) {
	if w.full == nil {
		return
	}
	w.mark(Mark{Kind: MarkFull, Time: now.UnixMilli(), Since: w.fullSince.UnixMilli(), Count: w.refused})
	w.cfg.Logger.Info("the disk of the trace log has room again", "dir", w.cfg.Dir, slog.Uint64("records_refused", w.refused))
	w.full = nil
}

// packedSegment is a segment that was packed, and its size since.
type packedSegment struct {
	first uint64
	size  int64
}

// take takes note of segments that were packed.
func (w *writer) take(packed []packedSegment) {
	for _, p := range packed {
		for i := range w.segments {
			if s := &w.segments[i]; s.first == p.first {
				s.size, s.packed, w.changed = p.size, true, true
			}
		}
	}
}
