// Package storage is what a node keeps on disk for Raft: the log, the term and
// vote, and snapshots of the state machine, all under one directory that only
// the owner of the process may read.
//
// What it promises: a write that returned is on disk; a write that failed, or
// took longer than the limit, is reported once as fatal, because a node with a
// hung disk is otherwise never replaced (hashicorp/raft#503) and one with a
// failing disk keeps winning elections (#614); term and candidate of a vote
// reach the disk together; a directory of another cluster or node is refused.
//
// What it never does: go on after a storage error, or run without fsync.
package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	logFile    = "log.db"
	stableFile = "stable.db"

	logMmap         = 1 << 30 // bytes of address space; growing a mapping stops all readers
	stableMmap      = 1 << 20
	cachedEntries   = 512
	retainSnapshots = 2
	fileLockWait    = time.Second // zero would wait for ever
)

// Config says where a node's storage is and whose it is.
type Config struct {
	// Dir is the directory, made when missing (its parents too).
	Dir string
	// ClusterID and NodeID are written into a new directory and must be those
	// of an old one.
	ClusterID, NodeID string
	// SlowWrite, and a second more, is how long a write may take until it is fatal.
	SlowWrite time.Duration
	// Fatal is called at most once, with the first storage error. Writes fail
	// from then on.
	Fatal func(error)
	// Logger is for the snapshot store. Required.
	Logger hclog.Logger
}

// Stores is an open storage directory.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore

	log       *logFiles
	stable    *stableStore
	snapshots *snapshotStore
	dir       string
}

// Open opens the directory, or makes it. A directory that another process has
// open, or that belongs to another cluster or node, is refused in one sentence.
func Open(cfg Config) (_ *Stores, err error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the Raft directory: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil { // it may have been there before
		return nil, fmt.Errorf("closing the Raft directory to others: %w", err)
	}
	if err := claim(cfg.Dir, cfg.ClusterID, cfg.NodeID); err != nil {
		return nil, err
	}
	s := &Stores{dir: cfg.Dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	s.stable, err = openStable(filepath.Join(cfg.Dir, stableFile))
	if err != nil {
		return nil, openingError("vote", cfg.Dir, err)
	}
	// Before the file is made: the next start would not know that it is new.
	if err := s.checkLog(); err != nil {
		return nil, openingError("log", cfg.Dir, err)
	}
	dog := NewWatchdog(cfg.SlowWrite, cfg.Fatal)
	s.log, err = openLog(cfg.Dir, dog)
	if err != nil {
		return nil, openingError("log", cfg.Dir, err)
	}
	s.snapshots, err = openSnapshots(cfg.Dir, cfg.Logger)
	if err != nil {
		return nil, err
	}
	// The names of new files must survive a power cut as their contents do.
	if err := errors.Join(syncDir(cfg.Dir), syncDir(filepath.Dir(cfg.Dir))); err != nil {
		return nil, err
	}
	s.Snapshots = dog.Snapshots(s.snapshots)
	s.Stable = dog.Stable(s.stable)
	s.Log, err = raft.NewLogCache(cachedEntries, s.log)
	return s, err
}

// Close closes the files. Raft must have ended.
func (s *Stores) Close() error {
	var errs []error
	if s.log != nil {
		errs = append(errs, s.log.close())
	}
	if s.stable != nil {
		errs = append(errs, s.stable.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the Raft directory: %w", err)
	}
	return nil
}

// boltOptions are those of both files. The free list is kept in memory and
// rebuilt at opening: writing it at every commit costs more the more was
// deleted.
func boltOptions(mmap int) *bbolt.Options {
	return &bbolt.Options{
		Timeout:         fileLockWait,
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mmap,
	}
}

func openingError(what, dir string, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("the data directory %s is in use by another process", filepath.Dir(dir))
	}
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("opening the %s file in %s: %w", what, dir, err)
	}
	return Damaged(dir, fmt.Errorf("opening the %s file in %s: %w", what, dir, err))
}
