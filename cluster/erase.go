package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Erase makes the files of this node forget what is no longer in the state: a
// new snapshot, without a log behind it; no older snapshots; and a log file
// without the pages on which deleted entries still stand. What was deleted by an
// entry is in none of them once that entry has been applied here before the
// call; nothing else needs to happen in the cluster.
//
// It returns when it is done or has failed; what of it was done stays done, and
// it can be repeated. A follower that is behind needs the snapshot then.
func (n *Node) Erase(ctx context.Context) error {
	err := n.await(ctx, func() error {
		n.erasing.Lock() // until it is done, whoever still waits
		defer n.erasing.Unlock()
		index, err := n.snapshot()
		if err != nil {
			return err
		}
		if err := n.stores.Compact(index); err != nil {
			return err
		}
		return n.stores.Erase(index)
	})
	if err != nil {
		return fmt.Errorf("erasing what the state no longer holds: %w", err)
	}
	return nil
}

// feedingPause is how long after a snapshot a follower has to fetch what was
// written while it was sent.
const feedingPause = 2 * time.Second

// Feeding tells whether this node is sending a follower a snapshot, or has just
// done so. [Node.Erase] would have that follower begin with another one: it is
// better called later.
func (n *Node) Feeding() bool { return n.trans.Feeding(feedingPause) }

// snapshot takes a snapshot and returns the entry that it is of, once it could be
// read back: with the older ones and the log before it gone, nothing else has that
// state.
func (n *Node) snapshot() (index uint64, err error) {
	taken := n.raft.Snapshot()
	err = taken.Error()
	if errors.Is(err, raft.ErrNothingNewToSnapshot) {
		// Nothing was applied since the start: the newest snapshot is the state.
		return n.applied.load(), nil
	}
	if err != nil {
		return 0, err
	}
	meta, r, err := taken.Open()
	if err != nil {
		return 0, err
	}
	return meta.Index, r.Close()
}
