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

// Replayed is what was found in the directory of a stopped node.
type Replayed struct {
	Last Position // of the last entry
	// Committed is an index up to which every entry is known to be committed: that
	// of the newest snapshot, or what the node noted when it ended. More may be.
	Committed uint64
}

// Replay brings an empty state machine to the newest state that the Raft
// directory of a stopped node (raft in its data directory) can tell: its newest
// snapshot that can be read, and every entry of its log that continues it. The last
// entries may never have been committed, so this is for looking, for doing
// revocations once more, and for founding a cluster again whose majority is
// lost. unsure, if any, is told of each entry of which that is not known; those of
// Raft itself have no Data. The directory stays as it is.
func Replay(dir string, sm StateMachine, unsure func(Entry)) (found Replayed, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return found, fmt.Errorf("it holds no log of a node")
	}
	stores, err := storage.OpenStopped(dir, newRaftLogger(slog.New(slog.DiscardHandler), "snapshots"))
	if err != nil {
		return found, err
	}
	defer stores.Close()
	newest, err := storage.NewestSnapshot(dir)
	if err != nil {
		return found, err
	}
	if found.Last, err = replaySnapshot(stores.Snapshots, sm); err != nil {
		return found, err
	}
	found.Committed = max(newest.Index, stores.Committed)
	first, err := stores.Log.FirstIndex()
	if err != nil {
		return found, fmt.Errorf("reading the log: %w", err)
	}
	end, err := stores.Log.LastIndex()
	if err != nil {
		return found, fmt.Errorf("reading the log: %w", err)
	}
	if behind := found.Last.Index; end > behind && first > behind+1 {
		return found, fmt.Errorf("entries %d to %d are missing: its log does not continue the newest snapshot that can be read; take another member's directory, or a backup", behind+1, first-1)
	}
	if found.Last.Index < newest.Index {
		var last raft.Log
		if err := stores.Log.GetLog(newest.Index, &last); err != nil || last.Term != newest.Term {
			return found, fmt.Errorf("the newest snapshot, of entry %d, cannot be read, and its log does not hold that entry; take another member's directory, or a backup", newest.Index)
		}
	}
	var ends raft.Log // where the snapshot does
	if err := stores.Log.GetLog(found.Last.Index, &ends); err == nil && ends.Term != found.Last.Term {
		end = 0 // the log is of before the snapshot came
	}
	for index := max(first, sm.AppliedIndex()+1, 1); index <= end; index++ {
		var logged raft.Log
		if err := stores.Log.GetLog(index, &logged); err != nil {
			return found, fmt.Errorf("reading entry %d of the log: %w", index, err)
		}
		if logged.Term < found.Last.Term {
			break // likewise: no log goes back to an older term
		}
		found.Last = Position{Term: logged.Term, Index: logged.Index}
		entry := Entry{Index: logged.Index, Term: logged.Term}
		if logged.Type == raft.LogCommand {
			entry.Data = logged.Data
		}
		if entry.Data != nil || logged.Type == raft.LogConfiguration { // what a running node applies
			if _, err := sm.Apply([]Entry{entry}); err != nil {
				return found, fmt.Errorf("applying entry %d: %w", index, err)
			}
		}
		if index > found.Committed && unsure != nil {
			unsure(entry)
		}
	}
	if found.Last.Index < found.Committed {
		return found, fmt.Errorf("what was committed up to entry %d can be read up to entry %d only; take another member's directory, or a backup", found.Committed, found.Last.Index)
	}
	return found, nil
}

// replaySnapshot restores the newest snapshot that can be read, and says where it
// ends.
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
