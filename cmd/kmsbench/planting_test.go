package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// stoppedNode leaves the directory of a node whose log ends in some marks.
func stoppedNode(t *testing.T, entries []*raft.Log) string {
	t.Helper()
	dir := t.TempDir()
	stores, err := storage.Open(storage.Config{
		Dir: filepath.Join(dir, "raft"), ClusterID: "c", NodeID: "n", SlowWrite: time.Minute,
		Fatal: func(err error) { slog.Error(err.Error()) }, Logger: hclog.NewNullLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stores.Log.StoreLogs(entries), stores.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// All nodes get the same state at the same place, with as many keys as were
// asked for, and what was there before stays.
func TestPlantKeys(t *testing.T) {
	m := fsmtest.New(t)
	configuration := raft.Configuration{Servers: []raft.Server{{ID: "n", Address: "a"}}}
	entries := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)},
		{Index: 2, Term: 2, Data: m.Entry(m.Command(fsmtest.Bootstrap())).Data},
		{Index: 3, Term: 2, Data: m.Entry(m.Command(fsmtest.CreateKey("a"))).Data},
		{Index: 4, Term: 3, Type: raft.LogNoop},
		{Index: 5, Term: 3, Type: raft.LogBarrier},
	}
	dirs := []string{stoppedNode(t, entries), stoppedNode(t, entries[:4])}
	const keys = 1000
	if err := plantKeys(t.Context(), dirs, fsmtest.ProjectID, keys); err != nil {
		t.Fatal(err)
	}
	var roots []*state.Root
	for _, dir := range dirs {
		stores, err := storage.OpenStopped(filepath.Join(dir, "raft"), hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		defer stores.Close()
		metas, err := stores.Snapshots.List()
		if err != nil || len(metas) != 1 || metas[0].Index != 4 || metas[0].Term != 3 || len(metas[0].Configuration.Servers) != 1 {
			t.Fatalf("%+v, %v", metas, err)
		}
		_, r, err := stores.Snapshots.Open(metas[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		machine := fsm.New()
		if err := errors.Join(machine.Restore(r), r.Close()); err != nil {
			t.Fatal(err)
		}
		roots = append(roots, machine.State())
	}
	for _, root := range roots {
		_, kept := root.Key(fsmtest.KeyID("a"))
		if root.Applied() != 4 || root.Hash() != roots[0].Hash() || root.KeyCount(fsmtest.ProjectID) != keys || !kept {
			t.Errorf("applied %d, %d keys, the old one kept: %t", root.Applied(), root.KeyCount(fsmtest.ProjectID), kept)
		}
		if page := root.Keys(fsmtest.ProjectID, keys/2, 100, nil); len(page) != 100 {
			t.Errorf("a page of %d", len(page))
		}
	}
}
