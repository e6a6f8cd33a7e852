package storage

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// Stopped is the directory of a stopped node, to look at.
type Stopped struct {
	Log       raft.LogStore // writes fail
	Snapshots raft.SnapshotStore
	// Committed is an index up to which every entry is known to be committed, as
	// the node noted when it ended the last time that it ended well; 0 when it never
	// did. More may be.
	Committed uint64

	bolt *raftboltdb.BoltStore
}

// OpenStopped opens the directory of a stopped node to look at it; nothing in
// it is changed. A node that runs has it open, and that is refused.
func OpenStopped(dir string, log hclog.Logger) (*Stopped, error) {
	options := boltOptions(0)
	options.ReadOnly = true
	path := filepath.Join(dir, logFile)
	begun, err := checkBegun(path, logBuckets()...)
	if err != nil {
		return nil, openingError("log", dir, err)
	}
	if !begun {
		return nil, fmt.Errorf("the log file in %s is missing, or holds no log yet", dir)
	}
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path: path, BoltOptions: options, MsgpackUseNewTimeFormat: true,
	})
	if err != nil {
		return nil, openingError("log", dir, err)
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the snapshots: %w", err), bolt.Close())
	}
	return &Stopped{Log: checkedLog{bolt, dir}, Snapshots: snapshots, Committed: readCommitted(dir), bolt: bolt}, nil
}

// Close closes the files.
func (s *Stopped) Close() error { return s.bolt.Close() }
