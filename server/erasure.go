package server

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A deleted key leaves the state at once, and then the files of every node: each
// takes a new snapshot with no log behind it, drops the older ones, writes its
// log file anew, and reports how far it has come. The key is erased when all
// members have reported. So it is with what is discarded of a key that stays:
// imported material and the private halves of wrapping pairs.

// eraser erases the files of this node.
type eraser struct {
	server *Server
	member *member

	mu   sync.Mutex
	last time.Time // when it was last done
}

// erasureLook is how often a node looks whether there is something to erase.
const erasureLook = 2 * time.Second

// run erases when something was deleted or discarded since this node has last erased, but not
// more often than the configuration says: followers that are behind need the
// whole snapshot after it.
func (e *eraser) run(ctx context.Context, _ int64) error {
	root := e.server.machine.State()
	through := root.LastDeletion()
	if done, ok := root.Erasure(e.server.cfg.NodeID); through == 0 || ok && done.Through >= through {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.last.IsZero() && time.Since(e.last) < e.server.cfg.ErasurePause {
		return nil
	}
	started := time.Now()
	e.member.service.ForgetDeleted()
	if err := e.member.node.Erase(ctx); err != nil {
		return err
	}
	e.last = time.Now()
	if err := e.member.service.ReportErasure(ctx, through, e.last.Sub(started)); err != nil {
		return fmt.Errorf("reporting it: %w", err)
	}
	e.server.cfg.Logger.Info("this node's files hold nothing any more of what was deleted", "through_index", through, "took", e.last.Sub(started))
	return nil
}
