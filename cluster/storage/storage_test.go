package storage_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

func config(dir string) storage.Config {
	return storage.Config{
		Dir: dir, ClusterID: "blue", NodeID: "a", SlowWrite: time.Minute,
		Fatal: func(error) {}, Logger: hclog.NewNullLogger(),
	}
}

func open(t testing.TB, dir string) *storage.Stores {
	t.Helper()
	s, err := storage.Open(config(dir))
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReopen: log, term and snapshots are there again, and only the owner can
// read them.
func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	s := open(t, dir)
	if _, err := s.Stable.GetUint64([]byte("CurrentTerm")); err == nil || err.Error() != "not found" {
		t.Fatalf("a missing number: %v", err)
	}
	if _, err := s.Stable.Get([]byte("x")); err == nil || err.Error() != "not found" {
		t.Fatalf("a missing value: %v", err)
	}
	check(t, s.Stable.SetUint64([]byte("CurrentTerm"), 7))
	at := time.Now().UTC()
	check(t, s.Log.StoreLogs([]*raft.Log{{Index: 1, Term: 7, Data: []byte("one"), AppendedAt: at}, {Index: 2, Term: 7}}))
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	sink, err := s.Snapshots.Create(1, 2, 7, raft.Configuration{}, 1, trans)
	check(t, err)
	_, err = sink.Write([]byte("state"))
	check(t, err)
	check(t, sink.Close())
	unfinished, err := s.Snapshots.Create(1, 3, 7, raft.Configuration{}, 1, trans)
	check(t, err)
	check(t, s.Close())

	s = open(t, dir)
	if term, err := s.Stable.GetUint64([]byte("CurrentTerm")); err != nil || term != 7 {
		t.Fatalf("term %d, %v", term, err)
	}
	var entry raft.Log
	check(t, s.Log.GetLog(1, &entry))
	if string(entry.Data) != "one" || !entry.AppendedAt.Equal(at) {
		t.Fatalf("entry %+v", entry)
	}
	if last, err := s.Log.LastIndex(); err != nil || last != 2 {
		t.Fatalf("last index %d, %v", last, err)
	}
	found, err := s.Snapshots.List()
	if err != nil || len(found) != 1 {
		t.Fatalf("snapshots %v, %v", found, err)
	}
	_, r, err := s.Snapshots.Open(found[0].ID)
	check(t, err)
	defer r.Close()
	if meta, ok := storage.SnapshotMeta(r); !ok || meta.Index != 2 {
		t.Fatalf("the snapshot is %+v, %v", meta, ok)
	}
	if state, err := io.ReadAll(r); err != nil || string(state) != "state" {
		t.Fatalf("snapshot %q, %v", state, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "snapshots", unfinished.ID()+".tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("what a crash left of a snapshot is still there: %v", err)
	}
	const owner = `{"format":1,"cluster_id":"blue","node_id":"a"}` + "\n" // golden: it is on disks
	if content, err := os.ReadFile(filepath.Join(dir, "owner.json")); err != nil || string(content) != owner {
		t.Fatalf("owner.json holds %q, %v", content, err)
	}
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", d.Name(), info.Mode())
		}
		return err
	}))
}

func TestRefusesOthersDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	check(t, open(t, dir).Close())
	f := func(change func(*storage.Config), want string) {
		t.Helper()
		cfg := config(dir)
		change(&cfg)
		if _, err := storage.Open(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(c *storage.Config) { c.ClusterID = "red" }, "belongs to cluster blue, not to red")
	f(func(c *storage.Config) { c.NodeID = "b" }, "belongs to node a, not to b")
	s := open(t, dir)
	f(func(*storage.Config) {}, "in use by another process")
	check(t, s.Close())
	check(t, os.WriteFile(filepath.Join(dir, "owner.json"), []byte(`{"format":2,"cluster_id":"blue","node_id":"a"}`), 0o600))
	f(func(*storage.Config) {}, "format 2")
	check(t, os.WriteFile(filepath.Join(dir, "owner.json"), []byte(`{"form`), 0o600))
	f(func(*storage.Config) {}, "owner.json")
}

// TestVoteSurvivesCrashInWhole copies the directory at the points at which a
// process may die, and looks at the copy.
func TestVoteSurvivesCrashInWhole(t *testing.T) {
	term, candidate := []byte("LastVoteTerm"), []byte("LastVoteCand")
	dir := filepath.Join(t.TempDir(), "raft")
	s := open(t, dir)
	f := func(wantTerm uint64, wantFor string) {
		t.Helper()
		crashed := filepath.Join(t.TempDir(), "raft")
		check(t, os.CopyFS(crashed, os.DirFS(dir)))
		after := open(t, crashed)
		defer after.Close()
		gotTerm, err := after.Stable.GetUint64(term)
		if err != nil && err.Error() != "not found" {
			t.Fatal(err)
		}
		gotFor, err := after.Stable.Get(candidate)
		if err != nil && err.Error() != "not found" {
			t.Fatal(err)
		}
		if gotTerm != wantTerm || string(gotFor) != wantFor {
			t.Fatalf("after the crash: a vote in term %d for %q, want %d for %q", gotTerm, gotFor, wantTerm, wantFor)
		}
	}
	f(0, "")
	check(t, s.Stable.SetUint64(term, 5))
	f(0, "")
	check(t, s.Stable.Set(candidate, []byte("A")))
	f(5, "A")
	check(t, s.Stable.SetUint64([]byte("CurrentTerm"), 6))
	check(t, s.Stable.SetUint64(term, 6)) // the crash between the halves of a vote
	f(5, "A")
	check(t, s.Stable.Set(candidate, []byte("B")))
	f(6, "B")
}
