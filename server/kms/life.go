package kms

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// maxDeletionDays is the longest wait before a deletion.
const maxDeletionDays = 1096

// RenameKey gives a key another name (key_alias).
func (s *Service) RenameKey(ctx context.Context, c *Call, ref, name string) (*state.Key, error) {
	c.asked.Text("key_alias", name)
	return s.changeKey(ctx, c, command.TypeRenameKey, ref, func(key *state.Key) (command.Body, error) {
		return command.RenameKey{ProjectID: key.ProjectID, KeyID: key.ID, Name: name}, nil
	}, func(key *state.Key) { key.Name = name }, name)
}

// UpdateDescription gives a key another description.
func (s *Service) UpdateDescription(ctx context.Context, c *Call, ref, description string) (*state.Key, error) {
	return s.changeKey(ctx, c, command.TypeUpdateDescription, ref, func(key *state.Key) (command.Body, error) {
		return command.UpdateDescription{ProjectID: key.ProjectID, KeyID: key.ID, Description: description}, nil
	}, func(key *state.Key) { key.Description = description }, description)
}

// ProtectKey switches a key's deletion protection.
func (s *Service) ProtectKey(ctx context.Context, c *Call, ref string, on bool) (*state.Key, error) {
	return s.changeKey(ctx, c, command.TypeProtectKey, ref, func(key *state.Key) (command.Body, error) {
		return command.ProtectKey{ProjectID: key.ProjectID, KeyID: key.ID, On: on}, nil
	}, func(key *state.Key) { key.Protected = on }, strconv.FormatBool(on))
}

// ScheduleDeletion takes a key out of use, on every node by the time it
// returns, and has it deleted after so many days, to the second. What may be
// lost with it goes into a trace of its own.
func (s *Service) ScheduleDeletion(ctx context.Context, c *Call, ref string, days int) (*state.Key, error) {
	c.asked.Number("pending_days", int64(days))
	key, err := s.changeKey(ctx, c, command.TypeScheduleDeletion, ref, func(key *state.Key) (command.Body, error) {
		wait, err := s.deletionWait(days)
		if err != nil && key.State != state.PendingDeletion && !key.Default {
			return nil, err
		}
		return command.ScheduleDeletion{ProjectID: key.ProjectID, KeyID: key.ID, Wait: wait.Milliseconds()}, nil
	}, func(key *state.Key) {
		if now, ok := s.replica.Root().Key(key.ID); ok {
			key.Deletion = now.Deletion
		}
	}, strconv.Itoa(days))
	if err != nil {
		return nil, err
	}
	c.answered.Text("key_state", key.State.String())
	if err := s.tellRisks(ctx, key); err != nil { // the deletion itself is in the caller's trace
		s.logger.Warn("tracing what a deletion risks", "key", key.ID, "error", err)
	}
	return key, nil
}

// deletionWait is the wait that the days stand for. Where the configuration
// allows less than a day, no days mean the least.
func (s *Service) deletionWait(days int) (time.Duration, error) {
	wait := time.Duration(days) * 24 * time.Hour
	if days == 0 && s.minDeletionWait < 24*time.Hour {
		wait = s.minDeletionWait
	}
	if days < 0 || days > maxDeletionDays || wait < s.minDeletionWait {
		least := (s.minDeletionWait + 24*time.Hour - 1) / (24 * time.Hour)
		if s.minDeletionWait < 24*time.Hour {
			least = 0
		}
		return 0, &Error{Kind: KindInvalid, Parameter: "pending_days", Message: fmt.Sprintf("a key waits %d to %d days for its deletion", least, maxDeletionDays)}
	}
	return wait, nil
}

// CancelDeletion brings a key back: Disabled, or Pending import when it has no
// material.
func (s *Service) CancelDeletion(ctx context.Context, c *Call, ref string) (*state.Key, error) {
	key, err := s.changeKey(ctx, c, command.TypeCancelDeletion, ref, func(key *state.Key) (command.Body, error) {
		return command.CancelDeletion{ProjectID: key.ProjectID, KeyID: key.ID}, nil
	}, func(key *state.Key) { key.Deletion = 0 })
	if err == nil {
		c.answered.Text("key_state", key.State.String())
	}
	return key, err
}

// changeKey makes one change to a key that the caller names: body is the
// change, done says what it has made of the key beside its state.
func (s *Service) changeKey(ctx context.Context, c *Call, typ command.Type, ref string, body func(*state.Key) (command.Body, error), done func(*state.Key), meaning ...string) (*state.Key, error) {
	c.asked.Text("key_id", ref)
	if was, known, err := c.repeatedKey(typ); known || err != nil {
		if err == nil {
			done(was)
		}
		return was, err
	}
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	change, err := body(key)
	if err != nil {
		return nil, err
	}
	result, err := s.propose(ctx, c, change, append([]string{key.ID}, meaning...)...)
	if err != nil {
		return nil, err
	}
	was, err := result.Key()
	if err != nil {
		return nil, &Error{Kind: KindInternal, Message: "reading what was made of the key", Err: err}
	}
	// What this command did, not what others may have done since.
	changed := *key
	changed.State = was.State
	done(&changed)
	return &changed, nil
}
