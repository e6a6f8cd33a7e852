package audit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// maxQueued bounds the bytes that wait for the next leader, about 1,100
// records; who comes after that waits for a place.
const maxQueued = 1 << 20

// use is what the room for an entry may be taken from.
type use uint8

const (
	useNormal  use = iota // what is free without the reserve
	useRefusal            // the reserve, too
	useClaimed            // what a reservation has claimed
	useClaim              // as useNormal; the entry is a claim, and nothing is written
)

// entry is a record on its way to the disk.
type entry struct {
	body    []byte
	size    int64 // most bytes of its line
	use     use
	err     error        // set by the leader
	verdict chan verdict // has room for one
}

// verdict ends the wait of who has put an entry into the queue: it is written
// or refused, or he is to lead.
type verdict struct {
	lead bool
	err  error
}

// submit has the entry written and returns when it is.
func (l *Log) submit(ctx context.Context, e *entry) error {
	l.mu.Lock()
	if err := l.awaitPlace(ctx, e); err != nil {
		l.mu.Unlock()
		return err
	}
	l.queue = append(l.queue, e)
	l.queued += e.size
	if l.gathering && len(l.queue) >= l.wanted {
		l.gathering = false
		l.gathered <- struct{}{}
	}
	if l.leading.IsZero() {
		l.leading = time.Now()
		l.mu.Unlock()
		return l.lead(e)
	}
	l.mu.Unlock()
	if v := <-e.verdict; !v.lead {
		return v.err
	}
	return l.lead(e)
}

// awaitPlace returns when the queue has room for the entry; mu is held.
func (l *Log) awaitPlace(ctx context.Context, e *entry) error {
	for l.refusing() == nil && e.use != useClaimed && len(l.queue) > 0 && l.queued+e.size > maxQueued {
		if l.place == nil {
			l.place = make(chan struct{})
		}
		place := l.place
		l.mu.Unlock()
		var err error
		select {
		case <-place:
		case <-ctx.Done():
			err = fmt.Errorf("waiting for a place in the trace log: %w", context.Cause(ctx))
		}
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
	return l.refusing()
}

// lead writes the queue, in which own is (nil: the leader has come for
// something else), and hands on the lead. It returns what became of own.
func (l *Log) lead(own *entry) error {
	w := &l.writer
	if own != nil && l.cfg.Sync == SyncAlways {
		l.gather()
	}
	batch, taken, spare := l.take()
	began := time.Now()
	w.makeRoom(l.cfg.Clock(), taken, spare)
	l.admit(batch)
	w.write(batch)
	w.rhythm.note(len(batch), began)
	err := w.failed
	if own != nil {
		err = own.err
	}
	l.handOver()
	// Somebody else may lead by now: the writer is not ours any more, but the
	// batch is.
	for i, e := range batch {
		if e != own {
			e.verdict <- verdict{err: e.err}
		}
		batch[i] = nil
	}
	l.mu.Lock()
	l.spare = batch[:0]
	l.mu.Unlock()
	return err
}

// take takes the queue. taken is how many bytes it may need, spare how many
// must be left besides.
func (l *Log) take() (batch []*entry, taken, spare int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, taken = l.queue, l.queued
	l.queue, l.spare, l.queued = l.spare, nil, 0
	if l.place != nil {
		close(l.place)
		l.place = nil
	}
	w := &l.writer
	w.durable, w.needs = max(w.durable, l.durable), l.needs
	w.take(l.packed)
	l.packed = nil
	if l.failure != nil {
		w.failed = l.failure
	}
	l.free = 0 // whoever claims room until this is known again waits for its turn
	return batch, taken, l.cfg.Reserve + l.claimed
}

// admit decides which entries of the batch there is room for.
func (l *Log) admit(batch []*entry) {
	w := &l.writer
	l.mu.Lock()
	defer l.mu.Unlock()
	free := w.open.free() - w.marked
	for _, e := range batch {
		room := free - l.claimed
		switch e.use {
		case useNormal, useClaim:
			room -= l.cfg.Reserve
		case useRefusal:
			room -= markRoom
		case useClaimed:
			room = free
		}
		switch {
		case w.failed != nil:
			e.err = w.failed
		case e.size > room:
			e.err = w.refuse(e)
		case e.use == useClaim:
			e.err = nil
			l.claimed += e.size
		default:
			e.err = nil
			free -= e.size
		}
	}
}

// handOver makes known what the leader has done and has the next one lead.
func (l *Log) handOver() {
	w := &l.writer
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = w.failed
	}
	l.full, l.free = w.full, w.open.free()-w.marked
	l.current, l.written, l.durable = w.open.file, w.next, max(l.durable, w.durable)
	l.end, l.oldest = w.open.offset, w.oldest
	l.tip = tip{w.tree, w.next, w.last, w.log}
	for _, asked := range l.captures {
		l.captureTip(asked)
	}
	l.captures = nil
	if w.changed {
		l.kept, w.changed = slices.Clone(w.segments), false
		select {
		case l.closing <- struct{}{}:
		default:
		}
	}
	w.rhythm.waiting = len(l.queue)
	if len(l.queue) > 0 {
		l.leading = time.Now()
		l.queue[0].verdict <- verdict{lead: true}
		return
	}
	l.leading = time.Time{}
	if l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// syncing hands the log to the disk once in every interval.
func (l *Log) syncing(ctx context.Context) {
	ticker := time.NewTicker(l.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.syncNow()
		}
	}
}

func (l *Log) syncNow() {
	l.mu.Lock()
	f, written := l.current, l.written
	due := l.failure == nil && written > l.durable
	if due {
		l.syncBegan = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return
	}
	err := f.Datasync()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.syncBegan = time.Time{}
	switch {
	case err == nil:
		l.durable = max(l.durable, written)
	case errors.Is(err, os.ErrClosed):
		// The leader has begun another segment, and synced this one before.
	case l.failure == nil:
		l.failure = l.cfg.damaged("syncing", err)
	}
}
