package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// Position is a place in a log. Of two logs the one whose last entry has the
// higher term is further, and where that is the same, the one with the higher
// index: entries of an old term may never have been committed, however many.
type Position struct{ Term, Index uint64 }

// Replay brings an empty state machine to the newest state that the Raft
// directory of a stopped node (raft in its data directory) can tell: its newest
// snapshot that can be read, and every entry of its log that continues it. The last
// entries may never have been committed, so this is for looking, for doing
// revocations once more, and for founding a cluster again whose majority is
// lost. It returns where that ends. The directory stays as it is.
func Replay(dir string, sm StateMachine) (last Position, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return last, fmt.Errorf("it holds no log of a node")
	}
	stores, err := storage.OpenStopped(dir, newRaftLogger(slog.New(slog.DiscardHandler), "snapshots"))
	if err != nil {
		return last, err
	}
	defer stores.Close()
	if last, err = replaySnapshot(stores.Snapshots, sm); err != nil {
		return last, err
	}
	first, err := stores.Log.FirstIndex()
	if err != nil {
		return last, fmt.Errorf("reading the log: %w", err)
	}
	end, err := stores.Log.LastIndex()
	if err != nil {
		return last, fmt.Errorf("reading the log: %w", err)
	}
	if next := last.Index + 1; first > next {
		return last, fmt.Errorf("its log begins with entry %d, and entry %d would continue the newest snapshot that can be read", first, next)
	}
	var ends raft.Log // where the snapshot does
	if err := stores.Log.GetLog(last.Index, &ends); err == nil && ends.Term != last.Term {
		return last, nil // the log is of before the snapshot came
	}
	for index := max(first, sm.AppliedIndex()+1); index <= end; index++ {
		var entry raft.Log
		if err := stores.Log.GetLog(index, &entry); err != nil {
			return last, fmt.Errorf("reading entry %d of the log: %w", index, err)
		}
		if entry.Term < last.Term {
			return last, nil // likewise: no log goes back to an older term
		}
		last = Position{Term: entry.Term, Index: entry.Index}
		if entry.Type != raft.LogCommand {
			continue
		}
		if _, err := sm.Apply([]Entry{{Index: entry.Index, Term: entry.Term, Data: entry.Data}}); err != nil {
			return last, fmt.Errorf("applying entry %d: %w", index, err)
		}
	}
	return last, nil
}

func replaySnapshot(snapshots raft.SnapshotStore, sm StateMachine) (Position, error) {
	all, err := snapshots.List()
	if err != nil {
		return Position{}, fmt.Errorf("listing the snapshots: %w", err)
	}
	for _, meta := range all { // newest first
		_, r, err := snapshots.Open(meta.ID)
		if err != nil {
			continue
		}
		err = sm.Restore(r)
		r.Close()
		if err == nil {
			return Position{Term: meta.Term, Index: meta.Index}, nil
		}
	}
	if len(all) > 0 {
		return Position{}, errors.New("none of its snapshots can be read")
	}
	return Position{}, nil
}
