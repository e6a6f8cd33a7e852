package cluster_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/storage"
)

// A leader that nobody follows any more has entries that were never committed.
// Whoever looks at what it has left, when it is stopped, is told which.
func TestReplayTellsWhatMayNotBeCommitted(t *testing.T) {
	t.Parallel()
	const stale = 5
	c := clustertest.Start(t, clustertest.Options{Configure: steady})
	leader, others := c.Leader(), c.Followers()
	acknowledged, err := leader.Propose(patience(t), []byte("k=old"))
	if err != nil {
		t.Fatal(err)
	}
	staleTail(t, c, leader, others, stale, func() {})

	var unsure []string
	machine := clustertest.NewMachine()
	found, err := cluster.Replay(filepath.Join(leader.DataDir, "raft"), machine, func(e cluster.Entry) {
		if len(e.Data) > 0 {
			unsure = append(unsure, string(e.Data))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(unsure)
	if want := "stale-0=1 stale-1=1 stale-2=1 stale-3=1 stale-4=1"; strings.Join(unsure, " ") != want {
		t.Errorf("unsure are %q", unsure)
	}
	if found.Committed < acknowledged.Index || found.Last.Index < found.Committed+stale {
		t.Errorf("entry %d was acknowledged, and found is %+v", acknowledged.Index, found)
	}
	if machine.Value("k") != "old" || machine.Value("stale-4") != "1" {
		t.Error("not everything was applied")
	}
}

// What is read from the directory of a node that has stopped is of the entry that
// the node had applied, though that changed members and not the state: backups and
// directories are compared by it.
func TestReplayEndsWhereTheNodeDid(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1})
	m := c.Members[0]
	if _, err := m.Propose(patience(t), []byte("k=v")); err != nil {
		t.Fatal(err)
	}
	before := m.Machine.AppliedIndex()
	if err := m.AddNonvoter(patience(t), "node-9", "127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Barrier(patience(t)); err != nil {
		t.Fatal(err)
	}
	applied := m.Machine.AppliedIndex()
	if applied <= before {
		t.Fatalf("the change of members is not applied: this test tests nothing")
	}
	c.Stop(m)
	machine := clustertest.NewMachine()
	if _, err := cluster.Replay(filepath.Join(m.DataDir, "raft"), machine, nil); err != nil {
		t.Fatal(err)
	}
	if got := machine.AppliedIndex(); got != applied {
		t.Errorf("the state is that of entry %d, and the node's was that of %d", got, applied)
	}
}

// A log that does not tell everything up to where it is known to have been
// committed makes no state.
func TestReplayRefusesWhatIsIncomplete(t *testing.T) {
	t.Parallel()
	f := func(want string, committed uint64, indexes ...uint64) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "raft")
		stores, err := storage.Open(storage.Config{
			Dir: dir, ClusterID: "c", NodeID: "n", SlowWrite: time.Minute, Logger: hclog.NewNullLogger(), Fatal: func(err error) { t.Error(err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		var entries []*raft.Log
		for _, index := range indexes {
			entries = append(entries, &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte("k=v")})
		}
		if err := stores.Log.StoreLogs(entries); err != nil {
			t.Fatal(err)
		}
		for _, index := range []uint64{committed, committed - 1} { // it never goes back
			if err := stores.NoteCommitted(index); err != nil {
				t.Fatal(err)
			}
		}
		if err := stores.Close(); err != nil {
			t.Fatal(err)
		}
		found, err := cluster.Replay(dir, clustertest.NewMachine(), nil)
		switch {
		case want == "" && (err != nil || found.Committed != committed):
			t.Errorf("%+v, %v", found, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %s", err, want)
		}
		// A directory whose note is lost, or not as it was written, is read all the same.
		stable := filepath.Join(dir, "stable.db")
		note := func(index uint64) string {
			return string(binary.BigEndian.AppendUint64([]byte("KnownCommitted"), index))
		}
		for _, damage := range []func() error{
			func() error { return replace(stable, note(committed), note(1)) },
			func() error { return os.Truncate(stable, int64(os.Getpagesize()*3)) },
			func() error { return os.WriteFile(stable, []byte("damaged"), 0o600) },
			func() error { return os.Remove(stable) },
			func() error { return newFile(stable) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if found, err := cluster.Replay(dir, clustertest.NewMachine(), nil); indexes[0] == 1 && (err != nil || found.Committed != 0) {
				t.Errorf("without a note: %+v, %v", found, err)
			}
		}
	}
	f("", 2, 1, 2, 3)
	f("up to entry 4 can be read up to entry 3", 4, 1, 2, 3)
	f("entries 1 to 4 are missing", 1, 5, 6)
}

// TestReplayOfAFirstStart: a log without anything in it, which a first start that
// was cut short leaves, is said to be none.
func TestReplayOfAFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := newFile(filepath.Join(dir, "log.db")); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Replay(dir, clustertest.NewMachine(), nil)
	if err == nil || errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "holds no log") {
		t.Errorf("got %v", err)
	}
}

// newFile makes a file of bbolt's with nothing in it, as a first start begins one.
func newFile(path string) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	return db.Close()
}

// TestReplayTakesWhatContinuesTheSnapshot: entries that stood in the log before a
// leader's snapshot came, and that it took the place of, are no part of the state;
// and nothing is left out.
func TestReplayTakesWhatContinuesTheSnapshot(t *testing.T) {
	t.Parallel()
	type entries struct{ first, last, term uint64 }
	f := func(name string, want cluster.Position, refused string, log ...entries) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "raft")
			stores, err := storage.Open(storage.Config{
				Dir: dir, ClusterID: "c", NodeID: "n", SlowWrite: time.Minute, Fatal: func(error) {}, Logger: hclog.NewNullLogger(),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := stores.Close(); err != nil {
					t.Error(err)
				}
			}()
			snapshotAt(t, stores, 7, 3)
			for _, e := range log {
				for i := e.first; i <= e.last; i++ {
					if err := stores.Log.StoreLog(&raft.Log{Index: i, Term: e.term, Data: []byte("k=v")}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := stores.Close(); err != nil {
				t.Fatal(err)
			}
			found, err := cluster.Replay(dir, clustertest.NewMachine(), nil)
			got := found.Last
			if refused != "" {
				if err == nil || !strings.Contains(err.Error(), refused) {
					t.Fatalf("%v, want a refusal that says %q", err, refused)
				}
				return
			}
			if err != nil || got != want {
				t.Fatalf("it ends with %+v (%v), want %+v", got, err, want)
			}
		})
	}
	f("no log", cluster.Position{Term: 3, Index: 7}, "")
	f("the log goes on", cluster.Position{Term: 4, Index: 10}, "", entries{5, 8, 3}, entries{9, 10, 4})
	f("the log begins behind it", cluster.Position{Term: 3, Index: 9}, "", entries{8, 9, 3})
	f("another's entries in its place", cluster.Position{Term: 3, Index: 7}, "", entries{5, 12, 2})
	f("another's entries behind it", cluster.Position{Term: 3, Index: 7}, "", entries{8, 12, 2})
	f("an entry is missing", cluster.Position{}, "entries 8 to 8 are missing", entries{9, 12, 3})
}

// TestReplayFromAnOlderSnapshot: where the newest one cannot be read, entries that
// only this node ever had do not take the place of what it held.
func TestReplayFromAnOlderSnapshot(t *testing.T) {
	t.Parallel()
	f := func(term uint64, refused string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "raft")
		stores, err := storage.Open(storage.Config{
			Dir: dir, ClusterID: "c", NodeID: "n", SlowWrite: time.Minute, Fatal: func(error) {}, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		snapshotAt(t, stores, 5, 1)
		snapshotAt(t, stores, 7, 3)
		for i := uint64(4); i <= 12; i++ {
			entry := &raft.Log{Index: i, Term: 1, Data: []byte("k=v")}
			if i > 5 {
				entry.Term = term
			}
			if err := stores.Log.StoreLog(entry); err != nil {
				t.Fatal(err)
			}
		}
		if err := stores.Close(); err != nil {
			t.Fatal(err)
		}
		newest, err := storage.NewestSnapshot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, "snapshots", newest.ID, "state.bin"), 0); err != nil {
			t.Fatal(err)
		}
		found, err := cluster.Replay(dir, clustertest.NewMachine(), nil)
		switch {
		case refused == "" && (err != nil || found.Last.Index != 12):
			t.Errorf("%+v, %v", found, err)
		case refused != "" && (err == nil || !strings.Contains(err.Error(), refused)):
			t.Errorf("%+v, %v, want a refusal that says %q", found, err, refused)
		}
	}
	f(3, "")
	f(2, "of entry 7, cannot be read")
}

// snapshotAt keeps an empty state as of an entry.
func snapshotAt(t *testing.T, stores *storage.Stores, index, term uint64) {
	t.Helper()
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	sink, err := stores.Snapshots.Create(1, index, term, raft.Configuration{}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	machine := clustertest.NewMachine()
	_, applying := machine.Apply([]cluster.Entry{{Index: index, Term: term}})
	state, err := machine.Snapshot()
	if err := errors.Join(applying, err); err != nil {
		t.Fatal(err)
	}
	if _, err := state.WriteTo(sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
}
