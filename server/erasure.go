package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
)

// A deleted key leaves the state at once, and then the files of every node: each
// takes a new snapshot with no log behind it, drops the older ones, writes its
// log file anew, and reports how far it has come. The key is erased when all
// members have reported. So it is with what is discarded of a key that stays:
// imported material and the private halves of wrapping pairs.

// eraser erases the files of a node.
type eraser struct {
	nodeID  string
	dataDir string
	pause   time.Duration // from one erasure to the next
	state   func() *state.Root
	erase   func(context.Context) error
	feeding func() bool // whether a follower is being sent a snapshot
	report  func(ctx context.Context, through uint64, took time.Duration) error
	logger  *slog.Logger

	mu      sync.Mutex
	last    time.Time     // when it was last done
	through uint64        // up to which entry
	took    time.Duration // how long
	held    time.Time     // since when it waits for a follower that is being sent a snapshot
}

func (s *Server) newEraser(m *member) *eraser {
	return &eraser{
		nodeID: s.cfg.NodeID, dataDir: s.cfg.DataDir, pause: s.cfg.ErasurePause, state: s.machine.State, report: m.service.ReportErasure, logger: s.cfg.Logger,
		erase: func(ctx context.Context) error {
			m.service.ForgetDeleted()
			return m.node.Erase(ctx)
		},
		feeding: m.node.Feeding,
	}
}

// erasureLook is how often a node looks whether there is something to erase.
const erasureLook = 2 * time.Second

// erasureHold is how long at most an erasure waits for a follower that is being
// sent a snapshot.
const erasureHold = 10 * time.Minute

// run erases when something was deleted or discarded since this node has last erased, but not
// more often than the configuration says: followers that are behind need the
// whole snapshot after it. What is erased and not reported yet, since there was no
// leader, say, is only reported.
func (e *eraser) run(ctx context.Context, _ int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	through, reported := toErase(e.state(), e.nodeID)
	if reported >= through {
		return nil
	}
	if e.through <= reported {
		if !e.last.IsZero() && time.Since(e.last) < e.pause {
			return nil
		}
		if e.hold(time.Now()) {
			return nil
		}
		started := time.Now()
		if err := e.erase(ctx); err != nil {
			return err
		}
		e.last, e.through, e.held = time.Now(), through, time.Time{}
		e.took = e.last.Sub(started)
	}
	if err := e.report(ctx, e.through, e.took); err != nil {
		return fmt.Errorf("reporting it: %w", err)
	}
	kept, err := lostDirectories(e.dataDir)
	switch {
	case err != nil:
		return fmt.Errorf("looking for what a recovery has set aside: %w", err)
	case len(kept) > 0:
		e.logger.Warn("this node's files hold nothing any more of what was deleted, but for what a recovery has set aside: remove that when the cluster has what it should",
			"through_index", e.through, "took", e.took, "set_aside", kept)
	default:
		e.logger.Info("this node's files hold nothing any more of what was deleted", "through_index", e.through, "took", e.took)
	}
	return nil
}

// hold tells whether an erasure has to wait: it takes the log away that a follower
// needs behind the snapshot that it is being sent, so that it would begin with
// another one, and under enough deletions never end.
func (e *eraser) hold(now time.Time) bool {
	if !e.feeding() {
		e.held = time.Time{}
		return false
	}
	if e.held.IsZero() {
		e.held = now
	}
	return now.Sub(e.held) < erasureHold
}

// toErase is the entry up to which a node's files are to forget what was deleted,
// and the one up to which it has reported that they have.
func toErase(root *state.Root, nodeID string) (through, reported uint64) {
	if done, ok := root.Erasure(nodeID); ok {
		reported = done.Through
	}
	return root.LastDeletion(), reported
}
