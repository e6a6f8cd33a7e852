package storage

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Settle forgets the entries that a snapshot takes the place of, up to index,
// unless the log holds the very last one of them, which is of that term, and so
// all of them. Raft leaves them there: they may be a cut off leader's own, which
// its follower takes for the cluster's, and gives to others when it leads itself.
func (s *Stores) Settle(index, term uint64) error {
	var last raft.Log
	switch err := s.Log.GetLog(index, &last); {
	case err == nil && last.Term == term:
		return nil
	case err != nil && !errors.Is(err, raft.ErrLogNotFound):
		return fmt.Errorf("looking for the last entry of a snapshot: %w", err)
	}
	return s.forget(index)
}

// Compact forgets the entries that the newest snapshot takes the place of, which
// is to be that of index: where Raft could not read it, and began with an older
// one, they are needed.
func (s *Stores) Compact(index uint64) error {
	all, err := s.snapshots.List() // newest first
	if err != nil {
		return fmt.Errorf("listing the snapshots: %w", err)
	}
	switch {
	case len(all) == 0 && index == 0:
		return nil
	case len(all) == 0 || all[0].Index != index:
		return fmt.Errorf("the newest snapshot is not that of the state, which is of entry %d", index)
	}
	return s.forget(index)
}

// forget removes the entries up to index.
func (s *Stores) forget(index uint64) error {
	first, err := s.Log.FirstIndex()
	if err != nil {
		return fmt.Errorf("looking for entries before a snapshot: %w", err)
	}
	end, err := s.Log.LastIndex()
	if err != nil {
		return fmt.Errorf("looking for entries before a snapshot: %w", err)
	}
	if end = min(end, index); first == 0 || first > end {
		return nil
	}
	if err := s.Log.DeleteRange(first, end); err != nil {
		return fmt.Errorf("forgetting what a snapshot takes the place of: %w", err)
	}
	return nil
}
