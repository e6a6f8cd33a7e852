package storage

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// ErrFailed is wrapped by every operation after the first storage error.
var ErrFailed = errors.New("storage has failed")

// Watchdog reports the first storage error, or the first write that takes
// longer than a limit and a second more (while it is still hanging). A write that lands late
// after others were told that it failed is worse than a dead node, so there is
// no way back: all operations fail from then on.
type Watchdog struct {
	limit time.Duration
	fatal func(error)

	mu    sync.Mutex
	cause error
}

// NewWatchdog makes a watchdog; fatal is called at most once, in a goroutine of
// its own when a write hangs.
func NewWatchdog(limit time.Duration, fatal func(error)) *Watchdog {
	return &Watchdog{limit: limit, fatal: fatal}
}

// Log watches a log store.
func (w *Watchdog) Log(store raft.LogStore) raft.LogStore { return &watchedLog{store, w} }

// Stable watches a stable store.
func (w *Watchdog) Stable(store raft.StableStore) raft.StableStore { return &watchedStable{store, w} }

// Snapshots watches a snapshot store. What it cannot write is fatal: raft goes on
// without the snapshot, and its log grows for ever. That a snapshot is cancelled
// because its sender or the state machine failed is none of the disk's errors.
func (w *Watchdog) Snapshots(store raft.SnapshotStore) raft.SnapshotStore {
	return &watchedSnapshots{store, w}
}

func (w *Watchdog) fail(err error) {
	w.mu.Lock()
	first := w.cause == nil
	if first {
		w.cause = err
	}
	w.mu.Unlock()
	if first {
		w.fatal(err)
	}
}

func (w *Watchdog) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return fmt.Errorf("%w: %w", ErrFailed, w.cause)
	}
	return nil
}

// secondLook is how long what has passed its limit gets to end all the same: to
// a process that was put aside the limit has passed at once.
const secondLook = time.Second

// expect reports what is not over when its limit has passed, and a second look.
func (w *Watchdog) expect(what string, limit time.Duration) (over func()) {
	ended := make(chan struct{})
	timer := time.AfterFunc(limit, func() {
		select {
		case <-ended:
		case <-time.After(secondLook):
			w.fail(fmt.Errorf("%s takes longer than %v: the disk hangs", what, limit))
		}
	})
	return func() {
		timer.Stop()
		close(ended)
	}
}

// write runs one write under the limit.
func (w *Watchdog) write(what string, write func() error) error {
	if err := w.failed(); err != nil {
		return err
	}
	over := w.expect(what, w.limit)
	err := write()
	over()
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", what, err))
		return err
	}
	// A write that landed after it was reported as hanging is not to be built upon.
	return w.failed()
}

// read passes on an error that is a normal answer and reports any other.
func (w *Watchdog) read(what string, err error) error {
	if err != nil && !errors.Is(err, raft.ErrLogNotFound) && err.Error() != errNotFound.Error() {
		w.fail(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

// snapshot reports an error of a snapshot that is written. There is no limit of
// time: how long one takes depends on the state.
func (w *Watchdog) snapshot(what string, err error) error {
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

type watchedLog struct {
	store raft.LogStore
	dog   *Watchdog
}

func (l *watchedLog) FirstIndex() (uint64, error) {
	i, err := l.store.FirstIndex()
	return i, l.dog.read("reading the log", err)
}

func (l *watchedLog) LastIndex() (uint64, error) {
	i, err := l.store.LastIndex()
	return i, l.dog.read("reading the log", err)
}

func (l *watchedLog) GetLog(index uint64, entry *raft.Log) error {
	return l.dog.read("reading the log", l.store.GetLog(index, entry))
}

func (l *watchedLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *watchedLog) StoreLogs(entries []*raft.Log) error {
	return l.dog.write("writing the log", func() error { return l.store.StoreLogs(entries) })
}

func (l *watchedLog) DeleteRange(first, last uint64) error {
	return l.dog.write("shortening the log", func() error { return l.store.DeleteRange(first, last) })
}

type watchedStable struct {
	store raft.StableStore
	dog   *Watchdog
}

func (s *watchedStable) Set(key, value []byte) error {
	return s.dog.write("writing term or vote", func() error { return s.store.Set(key, value) })
}

func (s *watchedStable) SetUint64(key []byte, value uint64) error {
	return s.dog.write("writing term or vote", func() error { return s.store.SetUint64(key, value) })
}

func (s *watchedStable) Get(key []byte) ([]byte, error) {
	value, err := s.store.Get(key)
	return value, s.dog.read("reading term or vote", err)
}

func (s *watchedStable) GetUint64(key []byte) (uint64, error) {
	value, err := s.store.GetUint64(key)
	return value, s.dog.read("reading term or vote", err)
}

type watchedSnapshots struct {
	raft.SnapshotStore
	dog *Watchdog
}

func (s *watchedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	if err := s.dog.failed(); err != nil {
		return nil, err
	}
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, s.dog.snapshot("making a snapshot", err)
	}
	return &watchedSink{sink, s.dog}, nil
}

type watchedSink struct {
	raft.SnapshotSink
	dog *Watchdog
}

func (s *watchedSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	return n, s.dog.snapshot("writing a snapshot", err)
}

func (s *watchedSink) Close() error {
	return s.dog.snapshot("completing a snapshot", s.SnapshotSink.Close())
}

func (s *watchedSink) Cancel() error {
	return s.dog.snapshot("removing an unfinished snapshot", s.SnapshotSink.Cancel())
}
