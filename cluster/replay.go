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
// snapshot that can be read, and every entry of its log behind that. The last
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
	newest, err := storage.NewestSnapshot(dir)
	if err != nil {
		return last, err
	}
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
	if first > last.Index+1 || max(end, last.Index) < newest.Index {
		return last, fmt.Errorf("its log, %d to %d, does not continue its newest snapshot that can be read, at %d: entries are missing; take another member's directory, or a backup", first, end, last.Index)
	}
	for index := max(first, sm.AppliedIndex()+1, 1); index <= end; index++ {
		var entry raft.Log
		if err := stores.Log.GetLog(index, &entry); err != nil {
			return last, fmt.Errorf("reading entry %d of the log: %w", index, err)
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
