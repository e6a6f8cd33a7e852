package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Erase leaves in the files of the directory only what belongs to the log and
// the newest snapshot, which is to be that of index: older snapshots are removed,
// and the log file is written anew without the pages on which deleted entries
// still stand.
func (s *Stores) Erase(index uint64) error {
	if err := s.snapshots.keepNewest(index); err != nil {
		return err
	}
	return s.log.rewrite()
}

// keepNewest removes all snapshots but the newest, and what is left of such.
func (s *snapshotStore) keepNewest(index uint64) error {
	newest, err := s.newest(index)
	if newest == nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("listing the snapshots: %w", err)
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), temporarySuffix) {
			continue // it is being written, or goes at the next start
		}
		old, _ := readMeta(filepath.Dir(s.dir), entry.Name()) // its name is enough
		if !after(old, *newest) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, old.ID)); err != nil {
			return fmt.Errorf("removing an old snapshot: %w", err)
		}
	}
	return syncDir(s.dir)
}
