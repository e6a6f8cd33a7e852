package storage_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

var secret = []byte("recognisable wrapped material")

// holding returns the files below dir in which the secret stands.
func holding(t *testing.T, dir string) (found []string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, secret) {
			found = append(found, filepath.Base(path))
		}
		return err
	}))
	return found
}

func entry(index uint64, data []byte) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

// snapshot makes a snapshot with that content.
func snapshot(t *testing.T, s *storage.Stores, index uint64, content []byte) {
	t.Helper()
	sink, err := s.Snapshots.Create(1, index, 1, raft.Configuration{}, 1, nil)
	check(t, err)
	_, err = sink.Write(content)
	check(t, err)
	check(t, sink.Close())
}

// What was deleted from the log stands in its file until it is erased, and an
// older snapshot holds it too; what is left is all there.
func TestErase(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range uint64(200) {
		data := []byte("other")
		if i < 100 {
			data = secret
		}
		check(t, s.Log.StoreLog(entry(i+1, data)))
	}
	snapshot(t, s, 90, secret)
	snapshot(t, s, 150, []byte("without"))
	check(t, s.Log.DeleteRange(1, 150))
	if found := holding(t, dir); len(found) != 2 {
		t.Fatalf("to be erased from two files, it stands in %v: this test tests nothing", found)
	}
	check(t, s.Erase(150))
	if found := holding(t, dir); found != nil {
		t.Errorf("still in %v", found)
	}
	for range 2 {
		first, err := s.Log.FirstIndex()
		check(t, err)
		last, err := s.Log.LastIndex()
		check(t, err)
		if first != 151 || last != 200 {
			t.Errorf("the log is %d to %d", first, last)
		}
		for i := first; i <= last; i++ {
			var e raft.Log
			check(t, s.Log.GetLog(i, &e))
			if string(e.Data) != "other" || e.Term != 1 {
				t.Fatalf("entry %d: %+v", i, e)
			}
		}
		if snapshots, err := s.Snapshots.List(); err != nil || len(snapshots) != 1 || snapshots[0].Index != 150 {
			t.Errorf("snapshots %v, %v", snapshots, err)
		}
		check(t, s.Close())
		s = open(t, dir)
	}
	check(t, s.Log.StoreLog(entry(201, []byte("more"))))
	check(t, s.Erase(150)) // nothing to do is nothing to fail at
}

// Where the newest snapshot is not that of the state, the others may be all that
// can be read: they stay.
func TestEraseBeforeTheNewestSnapshot(t *testing.T) {
	s := open(t, t.TempDir())
	for _, index := range []uint64{200, 150} {
		snapshot(t, s, index, []byte("a state"))
	}
	for _, index := range []uint64{0, 150, 201} {
		if err := s.Erase(index); err == nil {
			t.Errorf("erased, with the state of entry %d", index)
		}
	}
	if snapshots, err := s.Snapshots.List(); err != nil || len(snapshots) != 2 {
		t.Errorf("snapshots %v, %v", snapshots, err)
	}
}

// Readers and writers notice nothing but a wait.
func TestEraseUnderUse(t *testing.T) {
	s := open(t, t.TempDir())
	var last atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := uint64(1); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := s.Log.StoreLog(entry(i, []byte("x"))); err != nil {
				t.Errorf("writing %d: %v", i, err)
				return
			}
			last.Store(i)
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var e raft.Log
			if i := last.Load(); i > 1000 {
				if err := s.Log.GetLog(i-900, &e); err != nil { // out of the cache
					t.Errorf("reading %d: %v", i-900, err)
					return
				}
			}
		}
	})
	for range 10 {
		check(t, s.Erase(0))
	}
	close(stop)
	wg.Wait()
	if n, err := s.Log.LastIndex(); err != nil || n != last.Load() || n == 0 {
		t.Errorf("the log ends at %d (%v), %d were written", n, err, last.Load())
	}
}

// A crash while the file is written anew leaves the old one, and what it left
// of the new one goes at the next start.
func TestEraseCutShort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	check(t, s.Log.StoreLog(entry(1, []byte("x"))))
	check(t, s.Close())
	half := filepath.Join(dir, "log.db.new")
	check(t, os.WriteFile(half, append([]byte("half a file"), secret...), 0o600))
	s = open(t, dir)
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	var e raft.Log
	check(t, s.Log.GetLog(1, &e))
}

// A copy that fails leaves the log as it was.
func TestEraseThatFails(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	check(t, s.Log.StoreLog(entry(1, []byte("x"))))
	check(t, os.MkdirAll(filepath.Join(dir, "log.db.new", "in the way"), 0o700)) // where the new file should go
	if err := s.Erase(0); err == nil {
		t.Fatal("it did not fail")
	}
	check(t, s.Log.StoreLog(entry(2, []byte("y"))))
	var e raft.Log
	check(t, s.Log.GetLog(1, &e))
}
