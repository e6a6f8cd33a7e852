package transport

import (
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func localAt(t *testing.T, applied, first, last uint64) Local {
	t.Helper()
	log := raft.NewInmemStore()
	for i := first; i <= last; i++ {
		if err := log.StoreLog(&raft.Log{Index: i, Term: 2}); err != nil {
			t.Fatal(err)
		}
	}
	return Local{Log: log, Applied: func() uint64 { return applied }, Term: func() uint64 { return 5 }}
}

// TestGround: of a request that Raft could not check, what is applied is taken
// away and no more is committed than it brings; every other one stays as it is.
func TestGround(t *testing.T) {
	f := func(name string, applied, first, last, prev uint64, entries int, commit uint64, wantPrev uint64, wantEntries int, wantCommit uint64) {
		t.Run(name, func(t *testing.T) {
			r := &received{local: localAt(t, applied, first, last)}
			req := &raft.AppendEntriesRequest{PrevLogEntry: prev, PrevLogTerm: 4, LeaderCommitIndex: commit}
			for i := range entries {
				req.Entries = append(req.Entries, &raft.Log{Index: prev + 1 + uint64(i)})
			}
			r.ground(req)
			if req.PrevLogEntry != wantPrev || len(req.Entries) != wantEntries || req.LeaderCommitIndex != wantCommit {
				t.Errorf("previous entry %d, %d entries, commit %d; want %d, %d, %d",
					req.PrevLogEntry, len(req.Entries), req.LeaderCommitIndex, wantPrev, wantEntries, wantCommit)
			}
			if wantEntries > 0 && req.Entries[wantEntries-1].Index != prev+uint64(entries) {
				t.Errorf("the last entry is %d", req.Entries[wantEntries-1].Index)
			}
		})
	}
	f("the entry is in the log", 7, 1, 9, 7, 2, 9, 7, 2, 9)
	f("nothing is known of the entry", 7, 8, 9, 10, 2, 9, 10, 2, 9)
	f("a heartbeat", 7, 8, 9, 0, 0, 0, 0, 0, 0)
	f("it continues the snapshot", 7, 8, 9, 7, 2, 20, 0, 2, 9)
	f("it tells of a commit only", 7, 8, 9, 7, 0, 20, 0, 0, 7)
	f("it vouches for less than is committed", 7, 1, 9, 8, 0, 20, 8, 0, 8)
	f("all from the beginning again", 7, 8, 9, 0, 9, 20, 0, 2, 9)
	f("all from the beginning again, the log is empty", 7, 1, 0, 0, 9, 20, 0, 2, 9)
	f("the first entries of all", 0, 1, 0, 0, 9, 9, 0, 9, 9)
	f("some of it is applied", 7, 8, 9, 5, 4, 20, 0, 2, 9)
	f("all of it is applied", 7, 8, 9, 3, 2, 20, 0, 0, 5)
}

// TestSnapshotThatComesLate: one that would take Raft back does not reach it,
// and is no failure for who sends it; of a leader whose term is over, and before
// Raft has started, Raft decides.
func TestSnapshotThatComesLate(t *testing.T) {
	f := func(name string, applied, index, term, current uint64, want bool) {
		t.Run(name, func(t *testing.T) {
			local := localAt(t, applied, 8, 9)
			local.Term = func() uint64 { return current }
			r := &received{local: local}
			answers := make(chan raft.RPCResponse, 1)
			data := strings.NewReader("a state")
			answered := r.answered(raft.RPC{
				Command:  &raft.InstallSnapshotRequest{Term: term, LastLogIndex: index, LastLogTerm: 2 + index/9, Size: data.Size()},
				Reader:   data,
				RespChan: answers,
			})
			if answered != want {
				t.Fatalf("answered: %t", answered)
			}
			if !answered {
				return
			}
			answer := (<-answers).Response.(*raft.InstallSnapshotResponse)
			if !answer.Success || answer.Term != term {
				t.Errorf("answered %+v", answer)
			}
			if data.Len() != 0 {
				t.Errorf("%d bytes stay on the connection", data.Len())
			}
		})
	}
	f("new", 7, 10, 5, 5, false)
	f("in the log, not yet applied", 7, 8, 5, 5, true)
	f("in the place of an entry of its own", 7, 9, 5, 5, false)
	f("late", 7, 7, 5, 5, true)
	f("late, of a newer leader", 7, 3, 6, 5, true)
	f("of a leader that is none any more", 7, 7, 4, 5, false)
	f("before Raft has started", 7, 7, 5, 0, false)
}

// compactedLog is a log of which all is applied, and taken into a snapshot, when
// it, or what is applied, has been looked at once.
type compactedLog struct {
	raft.LogStore
	applied, last uint64
}

func (l *compactedLog) GetLog(index uint64, entry *raft.Log) error {
	defer l.compact()
	if index <= l.applied {
		return raft.ErrLogNotFound
	}
	return l.LogStore.GetLog(index, entry)
}

func (l *compactedLog) appliedIndex() uint64 {
	defer l.compact()
	return l.applied
}

func (l *compactedLog) compact() { l.applied = l.last }

// TestHasWhileTheLogIsCompacted: an entry that goes from the log into a snapshot of
// this node's between two looks is here all the same.
func TestHasWhileTheLogIsCompacted(t *testing.T) {
	local := localAt(t, 7, 8, 9)
	log := &compactedLog{LogStore: local.Log, applied: 7, last: 9}
	local.Log, local.Applied = log, log.appliedIndex
	r := &received{local: local}
	if !r.has(&raft.InstallSnapshotRequest{LastLogIndex: 8, LastLogTerm: 2}) {
		t.Error("Raft goes back to the snapshot")
	}
}
