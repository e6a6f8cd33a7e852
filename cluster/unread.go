package cluster

import (
	"fmt"

	"github.com/hashicorp/raft"
)

// removeUnread removes the snapshots that Raft could not read at the start, of
// those that there were, newest first: the one that it went on from and the log,
// which it has read to the end, hold all of it, see startRaft. Raft takes the
// newest for a snapshot as long as it has a name: it removes readable ones for its
// sake, and a leader has none other to send.
func (n *Node) removeUnread(were []*raft.SnapshotMeta) error {
	began := n.fsm.began.Load()
	for _, meta := range were {
		if began == nil || meta.ID == began.ID {
			return nil
		}
		// A whole one that the state machine did not take is none of the disk's errors.
		if _, r, err := n.stores.Snapshots.Open(meta.ID); err == nil {
			r.Close()
			continue
		}
		n.log.Error("the newest snapshot could not be read, and is removed: an older one and the log have all of it; look after this node's disk",
			"snapshot", meta.ID, "index", meta.Index, "older_index", began.Index)
		if err := n.stores.RemoveSnapshot(meta.ID); err != nil {
			return fmt.Errorf("starting Raft: %w", err)
		}
	}
	return nil
}
