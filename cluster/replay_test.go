package cluster_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/storage"
)

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
			got, err := cluster.Replay(dir, clustertest.NewMachine())
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
	f("an entry is missing", cluster.Position{}, "begins with entry 9, and entry 8", entries{9, 12, 3})
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
