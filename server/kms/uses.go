package kms

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

const (
	maxUses  = 512    // that one command reports
	keptUses = 16_384 // while nothing can be reported
)

// ReportUses proposes when the versions that this node has used since the last
// report were last used: one command a minute, however many calls there were.
// What could not be reported is with the next report.
func (s *Service) ReportUses(ctx context.Context, _ int64) error {
	uses := s.keys.takeUses()
	slices.SortFunc(uses, func(a, b command.VersionUse) int {
		return cmp.Or(cmp.Compare(a.KeyID, b.KeyID), cmp.Compare(a.Number, b.Number))
	})
	for len(uses) > 0 {
		batch := uses[:min(len(uses), maxUses)]
		if err := s.report(ctx, command.RecordUse{Uses: batch}); err != nil {
			s.keys.returnUses(uses)
			return err
		}
		uses = uses[len(batch):]
	}
	return nil
}

// report proposes what this node has to tell of itself. It is bookkeeping: a
// repeat does no harm, nobody asked for it, and it has no trace.
func (s *Service) report(ctx context.Context, body command.Body) error {
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		return err
	}
	cmd.Caller = command.Caller{Kind: command.CallerSystem, NodeID: s.nodeID}
	cmd.Proposal = command.Proposal{ID: uuid.NewString()}
	data, err := command.Encode(cmd)
	if err != nil {
		return err
	}
	result, err := s.replica.Propose(ctx, data)
	if err != nil {
		return proposeError(err)
	}
	if result.Refusal != nil {
		return fromRefusal(result.Refusal)
	}
	return nil
}

// PublishCheckpoint has the cluster remember a checkpoint of this node's traces.
func (s *Service) PublishCheckpoint(ctx context.Context, body command.PublishCheckpoint) error {
	return s.report(ctx, body)
}

// takeUses returns the uses that were not reported yet. They count as reported.
func (k *keyring) takeUses() []command.VersionUse {
	k.mu.Lock()
	defer k.mu.Unlock()
	for element := k.recent.Front(); element != nil; element = element.Next() {
		k.noteUse(element.Value.(*loadedKey))
	}
	uses := make([]command.VersionUse, 0, len(k.uses))
	for id, last := range k.uses {
		uses = append(uses, command.VersionUse{KeyID: id.keyID, Number: id.number, Last: last})
	}
	clear(k.uses)
	return uses
}

// returnUses takes back uses that could not be reported.
func (k *keyring) returnUses(uses []command.VersionUse) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, u := range uses {
		id := versionID{u.KeyID, u.Number}
		if len(k.uses) < keptUses {
			k.uses[id] = max(k.uses[id], u.Last)
		}
	}
}

// noteUse puts down when a loaded key was last used, if that is news. The
// caller holds mu.
func (k *keyring) noteUse(l *loadedKey) {
	if !l.used {
		return
	}
	l.used = false
	k.uses[versionID{l.record.KeyID, l.record.Number}] = l.last.UnixMilli()
}

// ReportErasure reports that the files of this node hold nothing any more of
// the keys that were deleted up to an index, and traces it.
func (s *Service) ReportErasure(ctx context.Context, through uint64, took time.Duration) error {
	return s.RunSystem(ctx, OpEraseFiles, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.asked.Text("node_id", s.nodeID)
		c.asked.Number("through_index", int64(through))
		c.asked.Number("took_ms", took.Milliseconds())
		_, err := s.propose(ctx, c, command.ReportErasure{NodeID: s.nodeID, Through: through}, strconv.FormatUint(through, 10))
		return err
	})
}

// ForgetDeleted gives back what is loaded of keys that are deleted.
func (s *Service) ForgetDeleted() { s.keys.forgetDeleted(s.replica.Root()) }

func (k *keyring) forgetDeleted(root *state.Root) {
	k.mu.Lock()
	defer k.unlock()
	for element := k.recent.Front(); element != nil; {
		next := element.Next()
		record := element.Value.(*loadedKey).record
		if _, exists := root.Version(record.KeyID, record.Number); !exists {
			k.retire(element)
		}
		element = next
	}
}
