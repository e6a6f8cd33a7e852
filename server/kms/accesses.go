package kms

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

const (
	// accessPause is the least time between two notes of one access key's last
	// use, whichever nodes it is used on.
	accessPause = 5 * time.Minute
	// accessGrain is how exactly a use is put down: a key that is used all the
	// time is not written to all the time.
	accessGrain = time.Second
	// maxAccesses bounds the access keys that are watched; those that are used
	// beyond it are seen once there is room.
	maxAccesses = 65_536
	// maxAccessBatch is how many last uses one command tells of.
	maxAccessBatch = 512
)

// accesses are the last uses of access keys, as this node sees them. The zero
// value is ready.
type accesses struct {
	mu   sync.RWMutex
	last map[string]*atomic.Int64 // access key → Unix ms
}

// note puts down that an access key was proved at an instant. It is on the way
// of every call, so it takes a look at a map and mostly nothing else.
func (a *accesses) note(id string, at time.Time) {
	now := at.UnixMilli()
	a.mu.RLock()
	last, known := a.last[id]
	a.mu.RUnlock()
	if known {
		if before := last.Load(); now >= before+accessGrain.Milliseconds() {
			last.CompareAndSwap(before, now) // another call may have been faster, with the same news
		}
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil {
		a.last = make(map[string]*atomic.Int64)
	}
	if _, known := a.last[id]; !known && len(a.last) < maxAccesses {
		last := new(atomic.Int64)
		last.Store(now)
		a.last[id] = last
	}
}

// news are the last uses that the state does not tell of and that are worth a
// note. Access keys that are gone are forgotten.
func (a *accesses) news(root *state.Root) []command.Access {
	a.mu.Lock()
	defer a.mu.Unlock()
	var news []command.Access
	for id, last := range a.last {
		if _, exists := root.AccessKey(id); !exists {
			delete(a.last, id)
			continue
		}
		at, known := last.Load(), int64(0)
		if told, ok := root.Access(id); ok {
			known = told.Last
		}
		if at >= known+accessPause.Milliseconds() {
			news = append(news, command.Access{AccessKeyID: id, Last: at})
		}
	}
	return news
}

// ReportAccesses proposes when access keys were last used, as far as it is news
// to the state: at most once in five minutes for one key, whichever nodes it
// is used on, and many keys in one command.
func (s *Service) ReportAccesses(ctx context.Context, _ int64) error {
	news := s.accesses.news(s.replica.Root())
	for len(news) > 0 {
		batch := news[:min(len(news), maxAccessBatch)]
		if err := s.report(ctx, command.RecordAccess{Uses: batch}); err != nil {
			return err // they are news to the next report still
		}
		news = news[len(batch):]
	}
	return nil
}

// ForgetRevoked drops the revocations of tokens that have ended by themselves
// at now (Unix ms), as far as one command goes; the next run goes on.
func (s *Service) ForgetRevoked(ctx context.Context, now int64) error {
	for range forgottenAtOnce {
		oldest, ok := s.replica.Root().OldestRevoked()
		if !ok || oldest.Expires >= now {
			return nil
		}
		if err := s.report(ctx, command.ForgetRevoked{Through: now - 1}); err != nil {
			return err
		}
	}
	return nil
}

// forgottenAtOnce is how many commands one run of the clean-up proposes.
const forgottenAtOnce = 64
