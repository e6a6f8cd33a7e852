package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

const (
	// rewrittenFile is a log file that is being written anew. One that a crash
	// has left behind is removed: the log file is still the old one then.
	rewrittenFile = logFile + ".new"

	compactTxBytes = 8 << 20         // of one transaction while copying
	rewriteLimit   = 5 * time.Minute // a disk that takes longer hangs
)

// logFiles is the log in its file, which can be exchanged for a smaller one
// while nothing reads or writes it. It stands outside the watchdog: waiting for
// the exchange is no slow write.
type logFiles struct {
	dir string
	dog *Watchdog

	mu     sync.RWMutex // held for writing while the file is exchanged
	bolt   *raftboltdb.BoltStore
	watch  raft.LogStore // bolt under the watchdog
	closed bool
}

func openLog(dir string, dog *Watchdog) (*logFiles, error) {
	if err := os.Remove(filepath.Join(dir, rewrittenFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing an unfinished log file: %w", err)
	}
	l := &logFiles{dir: dir, dog: dog}
	return l, l.open()
}

// open opens the file. The caller holds mu, or is the only one.
func (l *logFiles) open() error {
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path:                    filepath.Join(l.dir, logFile),
		BoltOptions:             boltOptions(logMmap),
		MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return err
	}
	l.bolt, l.watch = bolt, l.dog.Log(bolt)
	return nil
}

func (l *logFiles) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.bolt == nil {
		return nil
	}
	l.closed = true
	return l.bolt.Close()
}

// rewrite copies what is in the log into a new file and puts that in the place
// of the old one: pages of the old one keep what was deleted from the log. At
// every moment, and after a crash at any, the name stands for one whole file.
func (l *logFiles) rewrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrFailed
	}
	timer := time.AfterFunc(rewriteLimit, func() {
		l.dog.fail(fmt.Errorf("rewriting the log takes longer than %v: the disk hangs", rewriteLimit))
	})
	defer timer.Stop()
	if err := l.bolt.Close(); err != nil {
		return l.lost(err)
	}
	copied := l.copyLog() // an error leaves the old file in its place
	if err := l.open(); err != nil {
		return l.lost(err)
	}
	if copied != nil {
		return fmt.Errorf("rewriting the log: %w", copied)
	}
	return nil
}

// lost reports a log file that is there no more.
func (l *logFiles) lost(err error) error {
	err = fmt.Errorf("exchanging the log file: %w", err)
	l.closed = true
	l.dog.fail(err)
	return err
}

// copyLog writes the new file and gives it the log's name.
func (l *logFiles) copyLog() (err error) {
	old, fresh := filepath.Join(l.dir, logFile), filepath.Join(l.dir, rewrittenFile)
	defer func() {
		if err != nil {
			_ = os.Remove(fresh) // the next start does it otherwise
		}
	}()
	options := boltOptions(0)
	options.ReadOnly, options.NoFreelistSync = true, false
	from, err := bbolt.Open(old, 0o600, options)
	if err != nil {
		return err
	}
	to, err := bbolt.Open(fresh, 0o600, boltOptions(0))
	if err != nil {
		return errors.Join(err, from.Close())
	}
	if err := errors.Join(bbolt.Compact(to, from, compactTxBytes), to.Sync(), to.Close(), from.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, old); err != nil {
		return err
	}
	return syncDir(l.dir)
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

// DeleteRange implements [raft.LogStore].
func (l *logFiles) DeleteRange(first, last uint64) error {
	store, done := l.store()
	defer done()
	return store.DeleteRange(first, last)
}

// Erase leaves in the files of the directory only what belongs to the log and
// the newest snapshot: older snapshots are removed, and the log file is written
// anew without the pages on which deleted entries still stand.
func (s *Stores) Erase() error {
	if err := s.snapshots.keepNewest(); err != nil {
		return err
	}
	return s.log.rewrite()
}

// keepNewest removes all snapshots but the newest.
func (s *snapshotStore) keepNewest() error {
	all, err := s.List() // newest first
	if err != nil {
		return fmt.Errorf("listing the snapshots: %w", err)
	}
	for _, old := range all[min(1, len(all)):] {
		if err := os.RemoveAll(filepath.Join(s.dir, old.ID)); err != nil {
			return fmt.Errorf("removing an old snapshot: %w", err)
		}
	}
	return syncDir(s.dir)
}
