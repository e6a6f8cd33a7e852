package storage

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// NoteCommitted leaves behind that every entry of the log up to index is
// committed. Raft keeps that in memory alone, and who looks at the directory
// when nobody can be asked any more needs it, see [Stopped.Committed]. What is
// committed stays so, hence a note only grows.
func (s *Stores) NoteCommitted(index uint64) error {
	noted, err := s.stable.GetUint64(keyCommitted)
	if err != nil && !errors.Is(err, errNotFound) {
		return fmt.Errorf("noting what is committed: %w", err)
	}
	if index <= noted {
		return nil
	}
	if err := s.stable.SetUint64(keyCommitted, index); err != nil {
		return fmt.Errorf("noting what is committed: %w", err)
	}
	return nil
}

// readCommitted reads the note in a directory that is not in use; 0 where there is
// none, or none that can be relied on: what is looked for in such a directory must
// be found in one that is damaged, too.
func readCommitted(dir string) uint64 {
	path := filepath.Join(dir, stableFile)
	if checkPages(path, string(stableBucket)) != nil {
		return 0
	}
	options := boltOptions(0)
	options.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return 0
	}
	stable := &stableStore{db: db}
	defer stable.Close()
	if db.View(checkSum) != nil {
		return 0
	}
	index, err := stable.GetUint64(keyCommitted)
	if err != nil {
		return 0
	}
	return index
}
