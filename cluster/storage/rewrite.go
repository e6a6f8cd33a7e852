package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// rewriteLimit is how long the log's users may wait at most while the file is
// exchanged: a disk that takes longer hangs.
const rewriteLimit = 5 * time.Minute

// logFiles is the log in its file, which can be exchanged for a smaller one
// while nothing reads or writes it. It stands outside the watchdog: waiting for
// the exchange is no slow write.
type logFiles struct {
	dir string
	dog *Watchdog

	rewriting sync.Mutex   // held by the one who writes the file anew
	deletions atomic.Int64 // that are over

	mu     sync.RWMutex // held for writing while the file is exchanged
	bolt   *raftboltdb.BoltStore
	watch  raft.LogStore // bolt under the watchdog
	closed bool
}

func openLog(dir string, dog *Watchdog) (*logFiles, error) {
	if err := os.Remove(filepath.Join(dir, rewrittenFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an unfinished log file: %w", err)
	}
	path := filepath.Join(dir, logFile)
	if err := checkPages(path, logBuckets()...); err != nil {
		return nil, err
	}
	bolt, err := openLogFile(path)
	if err != nil {
		return nil, err
	}
	l := &logFiles{dir: dir, dog: dog, bolt: bolt}
	l.watch = dog.Log(l.checked(bolt))
	return l, nil
}

func (l *logFiles) checked(bolt *raftboltdb.BoltStore) raft.LogStore { return checkedLog{bolt, l.dir} }

// logBuckets are those of raft-boltdb.
func logBuckets() []string { return []string{"conf", "logs"} }

func openLogFile(path string) (*raftboltdb.BoltStore, error) {
	return raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: boltOptions(logMmap), MsgpackUseNewTimeFormat: true})
}

// close closes the file, and waits for who is writing it anew.
func (l *logFiles) close() error {
	err := l.closeFile()
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	return err
}

func (l *logFiles) closeFile() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.bolt.Close()
}

// rewriteAttempts is how often the file is written anew while the log is in
// use; the next time its users wait.
const rewriteAttempts = 3

// rewrite copies what is in the log into a new file and puts that in the place
// of the old one: pages of the old one keep what was deleted from the log. Most
// is copied while the log is read and written; then both wait for the rest. At
// every moment, and after a crash at any, the name stands for one whole file.
//
// What is deleted meanwhile must not stay in the new file: it is begun again.
func (l *logFiles) rewrite() error {
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	for attempt := 1; ; attempt++ {
		old, err := l.rewriteOnce(attempt > rewriteAttempts)
		if old != nil { // the log's users go on meanwhile
			if closing := old.Close(); closing != nil {
				err = errors.Join(err, fmt.Errorf("closing the old log file: %w", closing))
			}
		}
		if !errors.Is(err, errDeletedMeanwhile) {
			return err
		}
	}
}

var errDeletedMeanwhile = errors.New("the log was shortened while it was copied")

// rewriteOnce does it while the log is in use, or holds it up. The caller closes
// the old file, if there is one.
func (l *logFiles) rewriteOnce(holding bool) (old *raftboltdb.BoltStore, err error) {
	if holding {
		defer l.hold()()
	}
	c, err := l.beginCopy()
	if err == nil && !holding {
		if err = c.bulk(); err == nil {
			defer l.hold()()
		}
	}
	if err == nil {
		old, err = c.finish()
	}
	if err != nil {
		err = fmt.Errorf("rewriting the log: %w", errors.Join(err, c.drop()))
	}
	return old, err
}

// hold has all users of the log wait; what it returns lets them go on.
func (l *logFiles) hold() (release func()) {
	l.mu.Lock()
	over := l.dog.expect("rewriting the log", rewriteLimit)
	return func() {
		over()
		l.mu.Unlock()
	}
}

// exchange gives a whole new file the log's name, and returns the old one. The
// caller holds mu.
func (l *logFiles) exchange(fresh *raftboltdb.BoltStore) (old *raftboltdb.BoltStore, err error) {
	if err := os.Rename(filepath.Join(l.dir, rewrittenFile), filepath.Join(l.dir, logFile)); err != nil {
		return nil, err
	}
	old, l.bolt, l.watch = l.bolt, fresh, l.dog.Log(l.checked(fresh))
	if err := syncDir(l.dir); err != nil { // after a crash the name may stand for either file
		err = fmt.Errorf("exchanging the log file: %w", err)
		l.dog.fail(err)
		return old, err
	}
	return old, nil
}

func (l *logFiles) store() (raft.LogStore, func()) {
	l.mu.RLock()
	return l.watch, l.mu.RUnlock
}

// FirstIndex implements [raft.LogStore].
func (l *logFiles) FirstIndex() (uint64, error) {
	store, done := l.store()
	defer done()
	return store.FirstIndex()
}

// LastIndex implements [raft.LogStore].
func (l *logFiles) LastIndex() (uint64, error) {
	store, done := l.store()
	defer done()
	return store.LastIndex()
}

// GetLog implements [raft.LogStore].
func (l *logFiles) GetLog(index uint64, entry *raft.Log) error {
	store, done := l.store()
	defer done()
	return store.GetLog(index, entry)
}

// StoreLog implements [raft.LogStore].
func (l *logFiles) StoreLog(entry *raft.Log) error {
	store, done := l.store()
	defer done()
	return store.StoreLog(entry)
}

// StoreLogs implements [raft.LogStore].
func (l *logFiles) StoreLogs(entries []*raft.Log) error {
	store, done := l.store()
	defer done()
	return store.StoreLogs(entries)
}

// DeleteRange implements [raft.LogStore]. It counts when it is over, so that a
// copy that was begun meanwhile, of which some may be from before, sees it when
// it is finished: whoever finishes one waits for all deletions.
func (l *logFiles) DeleteRange(first, last uint64) error {
	store, done := l.store()
	defer done()
	defer l.deletions.Add(1)
	return store.DeleteRange(first, last)
}
