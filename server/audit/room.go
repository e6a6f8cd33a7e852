package audit

import (
	"context"
	"sync"
)

// Room is a place in the log that is kept for one record: whoever changes
// something claims it before, so that the trace of the change cannot fail for
// want of room after it. (That holds where the file system writes into space
// that a file has, without needing more: ext4, XFS, tmpfs. btrfs and ZFS
// do not.)
type Room struct {
	log  *Log
	once sync.Once
}

// Reserve claims room for one record. Release it. Its errors are those of
// [Log.Append].
func (l *Log) Reserve(ctx context.Context) (*Room, error) {
	l.mu.Lock()
	quick := l.refusing() == nil && l.free-l.cfg.Reserve-l.claimed-l.queued >= maxLine
	if quick {
		l.claimed += maxLine
	}
	l.mu.Unlock()
	if !quick {
		claim := &entry{size: maxLine, use: useClaim, verdict: make(chan verdict, 1)}
		if err := l.submit(ctx, claim); err != nil {
			return nil, err
		}
	}
	return &Room{log: l}, nil
}

// Append writes the record to the room, whatever its rating, and releases the
// room. It does not wait for a place in the queue.
func (r *Room) Append(ctx context.Context, record *Record) error {
	defer r.Release()
	return r.log.append(ctx, record, useClaimed)
}

// Release gives the room back. Only the first call does anything.
func (r *Room) Release() {
	r.once.Do(func() {
		r.log.mu.Lock()
		r.log.claimed -= maxLine
		r.log.mu.Unlock()
	})
}
