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
// is to be that of index.
func (s *Stores) Compact(index uint64) error {
	if newest, err := s.snapshots.newest(index); newest == nil {
		return err
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
