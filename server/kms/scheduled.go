package kms

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The timed work on keys. The leader's scheduler asks for it; that a due time
// is done once is judged where the command is applied.

const (
	dueAtOnce   = 1000 // keys of one look
	dueTogether = 8    // of them under way at the same time: their commands share the log's writes

	// warnAhead is how long before its deletion a key is warned of, once a day.
	warnAhead = 3 * 24 * time.Hour
)

// DeleteDueKeys deletes the keys whose deletion is due at now (Unix ms).
func (s *Service) DeleteDueKeys(ctx context.Context, now int64) error {
	return s.forDue(ctx, now, func(key *state.Key) bool { return deletedBy(key, now) }, func(ctx context.Context, key *state.Key) error {
		body := command.DeleteDueKey{KeyID: key.ID, Due: key.Deletion}
		return s.RunSystem(ctx, OpDeleteDueKey, key.ProjectID, command.CallerSystem, func(ctx context.Context, c *Call) error {
			c.About(key)
			c.asked.Text("key_id", key.ID)
			c.asked.Text("due", isoTime(key.Deletion))
			_, err := s.propose(ctx, c, body, key.ID, isoTime(key.Deletion))
			return err
		})
	})
}

// deletedBy tells whether a key's deletion is due at that time, or before.
func deletedBy(key *state.Key, at int64) bool {
	return key.State == state.PendingDeletion && key.Deletion <= at
}

// RotateDueKeys makes the versions that are due at now (Unix ms).
func (s *Service) RotateDueKeys(ctx context.Context, now int64) error {
	rotates := func(key *state.Key) bool {
		return key.State == state.Enabled && key.RotationDue != 0 && key.RotationDue <= now
	}
	return s.forDue(ctx, now, rotates, func(ctx context.Context, key *state.Key) error {
		return s.RunSystem(ctx, OpRotateDueKey, key.ProjectID, command.CallerSystem, func(ctx context.Context, c *Call) error {
			c.About(key)
			c.asked.Text("key_id", key.ID)
			c.asked.Text("due", isoTime(key.RotationDue))
			version, err := s.nextVersion(ctx, key)
			if err != nil {
				return err
			}
			if _, err := s.propose(ctx, c, command.RotateDueKey{KeyID: key.ID, Due: key.RotationDue, Version: version}, key.ID, isoTime(key.RotationDue)); err != nil {
				return err
			}
			c.answered.Number("version", int64(version.Number))
			return nil
		})
	})
}

// forDue does something with every wanted key for which something is due: what
// that is, is for wanted to say. One that fails is no reason to leave out the
// others. That it was done meanwhile is no failure.
func (s *Service) forDue(ctx context.Context, now int64, wanted func(*state.Key) bool, do func(context.Context, *state.Key) error) error {
	if len(s.replica.Root().Due(now, 1, wanted)) == 0 {
		return nil // without asking anybody: this is looked at all the time
	}
	if err := s.Current(ctx); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(dueTogether)
	var mu sync.Mutex
	var failed error // the first one: a module that is gone fails them all
	for _, key := range s.replica.Root().Due(now, dueAtOnce, wanted) {
		group.Go(func() error {
			if err := do(ctx, key); err != nil && KindOf(err) != KindStale {
				mu.Lock()
				defer mu.Unlock()
				failed = cmpFirst(failed, err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), failed)
}

func cmpFirst(first, next error) error {
	if first != nil {
		return first
	}
	return next
}

// warnings remembers which keys were warned of, and when.
type warnings struct {
	mu   sync.Mutex
	last map[string]int64 // key → Unix ms
}

// due tells whether a key is to be warned of again, and remembers that it was.
func (w *warnings) due(keyID string, now int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = make(map[string]int64)
	}
	if last, warned := w.last[keyID]; warned && now-last < (24*time.Hour).Milliseconds() {
		return false
	}
	w.last[keyID] = now
	return true
}

// keep forgets the keys that are not among these.
func (w *warnings) keep(keys []*state.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := make(map[string]int64, len(keys))
	for _, key := range keys {
		if last, warned := w.last[key.ID]; warned {
			kept[key.ID] = last
		}
	}
	w.last = kept
}

// WarnOfDeletions traces once a day what is lost in the next three days. A new
// leader may warn once more.
func (s *Service) WarnOfDeletions(ctx context.Context, now int64) error {
	until := now + warnAhead.Milliseconds()
	soon := s.replica.Root().Due(until, dueAtOnce, func(key *state.Key) bool { return deletedBy(key, until) })
	s.warned.keep(soon)
	for _, key := range soon {
		if !s.warned.due(key.ID, now) {
			continue
		}
		if err := s.tellRisks(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
