package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

const (
	// rewrittenFile is a log file that is being written anew. One that a crash
	// has left behind is removed: the log file is still the old one then.
	rewrittenFile = logFile + ".new"

	copyBytes   = 8 << 20 // of one transaction while copying
	copyEntries = 4096    // of one transaction

	// The log's users wait for the last entries, up to so many; where entries
	// come as fast as they are copied, that is given up after some rounds.
	copyTail   = 256
	copyRounds = 20
)

// logCopy is a new log file that is being written.
type logCopy struct {
	log       *logFiles
	file      *raftboltdb.BoltStore // nil: it could not be made
	last      uint64                // the last entry that was copied
	deletions int64                 // of the log when it was begun
	exchanged bool                  // it is the log's file now
}

func (l *logFiles) beginCopy() (*logCopy, error) {
	c := &logCopy{log: l, deletions: l.deletions.Load()}
	// One that could not be removed would end up with entries of both.
	if err := os.Remove(c.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("removing an earlier copy of the log: %w", err)
	}
	var err error
	c.file, err = openLogFile(c.path())
	return c, err
}

func (c *logCopy) path() string { return filepath.Join(c.log.dir, rewrittenFile) }

// bulk copies while the log is in use, until little is left.
func (c *logCopy) bulk() error {
	for range copyRounds {
		before := c.last
		for {
			more, err := c.shared()
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if c.last-before <= copyTail {
			break
		}
	}
	return nil
}

// shared copies some entries beside the log's users.
func (c *logCopy) shared() (more bool, err error) {
	c.log.mu.RLock()
	defer c.log.mu.RUnlock()
	if c.log.closed {
		return false, ErrFailed
	}
	return c.some()
}

// finish copies the rest and has the file be the log's. It returns the old one.
// The caller holds up the log.
func (c *logCopy) finish() (old *raftboltdb.BoltStore, err error) {
	switch {
	case c.log.closed:
		return nil, ErrFailed
	case c.log.deletions.Load() != c.deletions:
		return nil, errDeletedMeanwhile
	}
	for more := true; more; {
		if more, err = c.some(); err != nil {
			return nil, err
		}
	}
	old, err = c.log.exchange(c.file)
	c.exchanged = old != nil
	return old, err
}

// some copies some of the entries that are behind the last one. Whoever calls it
// sees to it that the file stays open.
func (c *logCopy) some() (more bool, err error) {
	first, err := c.log.bolt.FirstIndex()
	if err != nil {
		return false, err
	}
	last, err := c.log.bolt.LastIndex()
	if err != nil {
		return false, err
	}
	var entries []*raft.Log
	at, size := max(first, c.last+1), 0
	for ; at <= last && size < copyBytes && len(entries) < copyEntries; at++ {
		entry := new(raft.Log)
		switch err := c.log.bolt.GetLog(at, entry); {
		case errors.Is(err, raft.ErrLogNotFound):
			continue // a log has gaps, or was shortened: that is seen at the end
		case err != nil:
			return false, err
		}
		entries, size = append(entries, entry), size+len(entry.Data)
	}
	if len(entries) > 0 {
		if err := c.file.StoreLogs(entries); err != nil {
			return false, err
		}
	}
	c.last = max(c.last, at-1)
	return at <= last, nil
}

// drop removes what is no log file after all.
func (c *logCopy) drop() error {
	if c.exchanged {
		return nil
	}
	var errs []error
	if c.file != nil {
		errs = append(errs, c.file.Close())
	}
	_ = os.Remove(c.path()) // the next copy or start does it otherwise
	return errors.Join(errs...)
}
