package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/storage"
)

// replace puts one text in a file in the place of another.
func replace(path, old, other string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(text, []byte(old), []byte(other)), 0o600)
}

// newestCanBeRead makes sure that the newest snapshot is one that a leader can send.
func newestCanBeRead(t *testing.T, dir string) {
	t.Helper()
	stopped, err := storage.OpenStopped(dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer stopped.Close()
	all, err := stopped.Snapshots.List()
	if err != nil || len(all) == 0 {
		t.Fatalf("snapshots %v, %v", all, err)
	}
	_, r, err := stopped.Snapshots.Open(all[0].ID)
	if err != nil {
		t.Errorf("it runs, and its newest snapshot is none: %v", err)
		return
	}
	r.Close()
}

// TestADamagedDirectoryIsRefused: a node does not start without what it has
// acknowledged, nor is its directory replayed; it says what to do.
func TestADamagedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{Nodes: 1, Configure: func(cfg *cluster.Config) {
		// None but those that are asked for. Raft takes one whenever it looks while the
		// log is empty, too, as it is after an erasure: what is new is more than any
		// threshold then, by the sum 0 - index.
		cfg.SnapshotThreshold, cfg.Timing.SnapshotInterval = 1<<20, time.Hour
	}})
	m := c.Members[0]
	ctx := patience(t)
	older := t.TempDir()
	for i := range 40 {
		if _, err := m.Propose(ctx, fmt.Appendf(nil, "k=%d", i)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 10 {
			if err := m.Erase(ctx); err != nil { // a snapshot, and no log before it
				t.Fatal(err)
			}
			if i == 10 {
				if err := os.CopyFS(older, os.DirFS(filepath.Join(m.DataDir, "raft", "snapshots"))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	c.Stop(m)
	f := func(name, want string, replays bool, damage func(dir string) error) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "node")
			if err := errors.Join(os.CopyFS(dir, os.DirFS(m.DataDir)), damage(filepath.Join(dir, "raft"))); err != nil {
				t.Fatal(err)
			}
			machine := clustertest.NewMachine()
			if _, err := cluster.Replay(filepath.Join(dir, "raft"), machine, nil); (err == nil) != replays {
				t.Errorf("replaying: %v", err)
			}
			n, err := cluster.Open(patience(t), cluster.Config{
				NodeID: m.ID, ClusterID: c.CA.ClusterID, DataDir: dir, Identity: c.CA.Identity(t, m.ID), ListenAddress: "127.0.0.1:0",
				Gossip: membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
				Timing: clustertest.Timing(), Fatal: func(error) {}, Logger: slog.New(slog.DiscardHandler),
			}, clustertest.NewMachine())
			if err == nil {
				if err := n.Close(patience(t)); err != nil {
					t.Error(err)
				}
				if want != "" {
					t.Error("it starts")
				}
				newestCanBeRead(t, filepath.Join(dir, "raft"))
				return
			}
			if want == "" || !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one sentence with %q", err, want)
			}
		})
	}
	rewrite := func(dir string, entries []*raft.Log) error {
		stores, err := storage.Open(storage.Config{
			Dir: dir, ClusterID: c.CA.ClusterID, NodeID: m.ID, SlowWrite: clustertest.Patience, Fatal: func(error) {}, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			return err
		}
		return errors.Join(stores.Log.DeleteRange(1, 1<<20), stores.Log.StoreLogs(entries), stores.Close())
	}
	newest := func(dir string) string {
		all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		slices.Sort(all)
		return all[len(all)-1]
	}
	snapshot := func(change func(state string) error) func(string) error {
		return func(dir string) error { return change(filepath.Join(newest(dir), "state.bin")) }
	}
	f("nothing", "", true, func(string) error { return nil })
	f("a log that is gone", "is missing", false, func(dir string) error { return os.Remove(filepath.Join(dir, "log.db")) })
	f("a vote that is gone", "of term 0 or missing", true, func(dir string) error { return os.Remove(filepath.Join(dir, "stable.db")) })
	f("a vote that is cut short", "it is cut short", true, func(dir string) error {
		return os.Truncate(filepath.Join(dir, "stable.db"), int64(os.Getpagesize()*3))
	})
	f("a vote under another name", "it holds the buckets", true, func(dir string) error {
		return replace(filepath.Join(dir, "stable.db"), "stable", "stabld")
	})
	f("a log that is cut short", "it is cut short", false, func(dir string) error {
		return os.Truncate(filepath.Join(dir, "log.db"), int64(os.Getpagesize()*3))
	})
	f("a snapshot that is cut short", "failed to load any existing snapshots", false, snapshot(func(state string) error { return os.Truncate(state, 10) }))
	f("a snapshot without its state", "failed to load any existing snapshots", false, snapshot(os.Remove))
	f("a snapshot that is altered", "failed to load any existing snapshots", false, snapshot(func(state string) error {
		text, err := os.ReadFile(state)
		if err != nil {
			return err
		}
		text[len(text)/2] ^= 1
		return os.WriteFile(state, text, 0o600)
	}))
	f("a snapshot whose description is cut short", "reading what the snapshot", false, func(dir string) error {
		return os.Truncate(filepath.Join(newest(dir), "meta.json"), 30)
	})
	f("an older snapshot from which the log does not go on", "failed to load any existing snapshots", false, func(dir string) error {
		if err := errors.Join(os.Truncate(filepath.Join(newest(dir), "state.bin"), 10), os.CopyFS(filepath.Join(dir, "snapshots"), os.DirFS(older))); err != nil {
			return err
		}
		return rewrite(dir, nil) // as behind a snapshot of all
	})
	// unread has an older snapshot and a log that begins behind it, up to after the
	// newest one, which cannot be read; its entries are of so many terms before.
	unread := func(termsBefore uint64) func(string) error {
		return func(dir string) error {
			was, err := storage.NewestSnapshot(dir)
			if err != nil || was.Term <= termsBefore {
				return fmt.Errorf("%+v: %w", was, err)
			}
			if err := errors.Join(os.Truncate(filepath.Join(newest(dir), "state.bin"), 10), os.CopyFS(filepath.Join(dir, "snapshots"), os.DirFS(older))); err != nil {
				return err
			}
			var entries []*raft.Log
			for i := uint64(1); i <= was.Index+20; i++ {
				entries = append(entries, &raft.Log{Index: i, Term: was.Term - termsBefore, Data: []byte("k=v")})
			}
			return rewrite(dir, entries)
		}
	}
	f("an older snapshot from which the log goes on", "", true, unread(0))
	f("an older snapshot from which entries go on that nobody else had", "failed to load any existing snapshots", false, unread(1))
	f("a snapshot that is gone", "the log does not continue the newest snapshot", false, func(dir string) error { return os.RemoveAll(newest(dir)) })
}
