package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

var (
	// ErrLocked: another process has the log open.
	ErrLocked = errors.New("the trace log is in use by another process")
	// ErrClosed: the log has been closed.
	ErrClosed = errors.New("the trace log is closed")
	// ErrFull: there is no room for the record, so its call must not be
	// answered. It passes by itself when there is room again.
	ErrFull = errors.New("the disk of the trace log is full")
	// ErrDamaged: the disk has failed, and what it holds of the last records
	// cannot be known. It does not pass: the node must stop, and open the log
	// again when it starts. (An fdatasync that has failed must not be tried
	// again: the system has forgotten what it could not write.)
	ErrDamaged = errors.New("the disk of the trace log has failed")
	// ErrStalled: the disk has not answered for ten seconds.
	ErrStalled = errors.New("the disk of the trace log does not answer")
	// ErrNode: the directory holds the log of another node.
	ErrNode = errors.New("the trace log is of another node")
)

// stalledAfter is how long a write may last before it counts as hanging.
const stalledAfter = 10 * time.Second

// Log is the trace log of one node. It is safe for concurrent use.
//
// Appending is flat combining: whoever comes first leads, and writes what has
// come meanwhile together with the record that it came for; then the first of
// those who came too late leads. So a record that comes alone waits for nobody,
// and many share a write and a sync (see gather).
type Log struct {
	cfg     Config
	dir     *os.File
	entries sync.Pool // of *entry
	faults  []*Fault
	writer  writer // Invariant: only touched by who leads

	mu        sync.Mutex
	closed    bool
	failure   error         // ErrDamaged and why
	full      error         // ErrFull and why, while there is no room
	leading   time.Time     // since when somebody leads; zero: nobody does
	syncBegan time.Time     // when syncNow began to sync; zero: it does not
	idle      chan struct{} // closed when nobody leads any more; nil: nobody waits for it
	queue     []*entry      // what the next leader writes
	queued    int64         // bytes in queue
	wanted    int           // entries that the leader waits for, see gather
	gathering bool          // whether it does
	gathered  chan struct{} // has room for one: they are there
	place     chan struct{} // closed when the queue is taken; nil: nobody waits for it
	spare     []*entry      // an empty slice for the next queue
	free      int64         // prepared bytes, 0 while somebody leads
	claimed   int64         // bytes claimed by reservations
	current   file          // what is written to
	written   uint64        // all lines with a lower sequence are in it or before it
	durable   uint64        // all lines with a lower sequence are on disk
	kept      []segment     // those of the writer, when it last handed over; replaced, never changed
	end       int64         // where the last line of the newest of them ends
	oldest    uint64        // sequence of the oldest line that was not dropped on purpose
	packed    []packedSegment
	tip       tip        // where the log ends
	captures  []*capture // who waits to see it when nobody writes
	needs     needs      // what others still need of it

	searches chan struct{} // as many as may look at the same time
	closing  chan struct{} // has room for one: a segment was closed
	stop     context.CancelFunc
	tasks    sync.WaitGroup // syncing, packing
}

// maxSearches bounds the searches at a time, and with them their memory.
const maxSearches = 4

// Open opens the log in dir with every default of [Config].
func Open(dir, nodeID string, logger *slog.Logger) (*Log, error) {
	return OpenConfig(Config{Dir: dir, NodeID: nodeID, Logger: logger})
}

// OpenConfig opens a log and makes it where it is missing. The newest segment
// is read as a whole, of the others only the ends: lines that a crash has torn
// are cut off; whatever else is wrong is left as it is, and the log goes on
// behind it. Both are logged, marked in the log, and told by [Log.Faults].
// Errors: [ErrLocked], [ErrNode], [ErrVersion], [ErrFull] when there is no room
// even for a first segment, and what the file system says.
func OpenConfig(cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("checking the configuration of the trace log: %w", err)
	}
	dir, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, dir: dir, searches: make(chan struct{}, maxSearches), closing: make(chan struct{}, 1), gathered: make(chan struct{}, 1)}
	l.entries.New = func() any { return &entry{body: make([]byte, 0, 1<<10), verdict: make(chan verdict, 1)} }
	if err := l.begin(); err != nil {
		if l.writer.open != nil {
			err = errors.Join(err, l.writer.open.file.Close())
		}
		return nil, errors.Join(err, dir.Close())
	}
	return l, nil
}

func (l *Log) begin() error {
	if l.cfg.RetentionSize == 0 {
		size, err := shareOfDisk(l.cfg.Dir, defaultRetentionDisk)
		if err != nil {
			return err
		}
		l.cfg.RetentionSize = size
	}
	l.writer = writer{cfg: &l.cfg, dir: l.dir, fill: newFill(), rhythm: rhythm{longest: longestWait}}
	faults, err := l.writer.recover()
	if err != nil {
		return err
	}
	l.faults = faults
	l.writer.growth = new(growth)
	l.writer.changed = true
	l.durable = l.writer.next
	l.leading = time.Now()
	if err := l.lead(nil); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	if l.cfg.Sync == SyncInterval {
		l.tasks.Go(func() { l.syncing(ctx) })
	}
	if !l.cfg.Plain {
		l.tasks.Go(func() { l.packing(ctx) })
	}
	return nil
}

// Faults is what was wrong with the log when it was opened; at most 100.
func (l *Log) Faults() []*Fault { return l.faults }

// Append writes the record as one line and returns when it counts as written
// (see [Sync]). ctx bounds the wait for a place in the queue, no more: once
// taken, a record is written even when the call has become too slow, and Append
// waits for the disk. A record that is not of RatingNormal may use the reserve.
//
// After an error the call that the record belongs to must not be answered.
// Errors: [ErrFull], [ErrDamaged], [ErrClosed], the end of ctx. The record is
// not in the log then; after ErrDamaged it may be.
func (l *Log) Append(ctx context.Context, record *Record) error {
	use := useNormal
	if record.Rating != RatingNormal {
		use = useRefusal
	}
	return l.append(ctx, record, use)
}

func (l *Log) append(ctx context.Context, record *Record, use use) error {
	e := l.entries.Get().(*entry)
	e.use = use
	e.body = record.appendBody(e.body[:0], l.cfg.NodeID)
	e.size = int64(len(e.body) + frameSize)
	err := l.submit(ctx, e)
	l.entries.Put(e)
	return err
}

// Healthy returns nil while every record is taken; else [ErrFull], [ErrDamaged],
// [ErrStalled] or [ErrClosed], with the reason. While the disk is full it looks
// for room, so that a node that is sent nothing comes back, too.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.refusing() != nil:
		return l.refusing()
	case l.leading.IsZero() && l.full != nil:
		l.leading = time.Now()
		l.mu.Unlock()
		err := l.lead(nil)
		l.mu.Lock()
		if err != nil {
			return err
		}
	case l.stalled() != nil:
		return l.stalled()
	}
	return l.full
}

// Stalled returns [ErrStalled] once the disk has not answered for ten seconds.
// It does not wait for the disk itself. What Append still waits for then is lost
// or not: the node must stop.
func (l *Log) Stalled() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stalled()
}

// stalled is Stalled; mu is held.
func (l *Log) stalled() error {
	for _, since := range []time.Time{l.leading, l.syncBegan} {
		if lasts := time.Since(since); !since.IsZero() && lasts > stalledAfter {
			return fmt.Errorf("%w, for %v now", ErrStalled, lasts.Round(time.Second))
		}
	}
	return nil
}

// Close waits for the records that were taken, hands the log to the disk and
// closes it. A second Close does nothing.
func (l *Log) Close() error {
	if !l.retire() {
		return nil
	}
	l.stop()
	l.tasks.Wait()
	file := l.writer.open.file
	var syncErr error
	if l.failure == nil { // else it was tried
		syncErr = file.Datasync()
	}
	if err := errors.Join(syncErr, file.Close(), l.dir.Close()); err != nil {
		return fmt.Errorf("closing the trace log: %w", err)
	}
	return nil
}

// refusing is why nothing is taken any more; mu is held.
func (l *Log) refusing() error {
	if l.closed {
		return ErrClosed
	}
	return l.failure
}

// retire has nothing more taken and waits until nobody leads. It returns false
// when somebody else has done so before.
func (l *Log) retire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.closed = true
	for !l.leading.IsZero() {
		if l.idle == nil {
			l.idle = make(chan struct{})
		}
		idle := l.idle
		l.mu.Unlock()
		<-idle
		l.mu.Lock()
	}
	return true
}
