package storage_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// sick is a store in memory with planned faults.
type sick struct {
	*raft.InmemStore
	hang chan struct{} // writes wait for it
	err  error         // writes and reads fail with it
}

func (s *sick) StoreLogs(entries []*raft.Log) error {
	if s.hang != nil {
		<-s.hang
	}
	return errors.Join(s.err, s.InmemStore.StoreLogs(entries))
}

func (s *sick) Set(key, value []byte) error { return errors.Join(s.err, s.InmemStore.Set(key, value)) }

func (s *sick) GetLog(index uint64, entry *raft.Log) error {
	if s.err != nil {
		return s.err
	}
	return s.InmemStore.GetLog(index, entry)
}

// TestHangingWrite: a write that hangs is fatal while it hangs, and nothing is
// accepted any more, not even that write when it lands at last.
func TestHangingWrite(t *testing.T) {
	store := &sick{InmemStore: raft.NewInmemStore(), hang: make(chan struct{})}
	fatal := make(chan error, 2)
	dog := storage.NewWatchdog(10*time.Millisecond, func(err error) { fatal <- err })
	log := dog.Log(store)
	late := make(chan error)
	go func() { late <- log.StoreLog(&raft.Log{Index: 1}) }()
	if err := <-fatal; !strings.Contains(err.Error(), "the disk hangs") {
		t.Fatalf("fatal: %v", err)
	}
	close(store.hang)
	if err := <-late; !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("the late write: %v", err)
	}
	if err := dog.Stable(store).Set([]byte("k"), nil); !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("a write after that: %v", err)
	}
	if len(fatal) != 0 {
		t.Fatal("fatal twice")
	}
}

// TestPauseIsNoHangingWrite: a process that was put aside finds the limit of its
// write passed, and gets the time to end it; what hangs then, hangs.
func TestPauseIsNoHangingWrite(t *testing.T) {
	const limit = 10 * time.Second
	f := func(took time.Duration, hangs bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			store := &sick{InmemStore: raft.NewInmemStore(), hang: make(chan struct{})}
			fatal := make(chan error, 1)
			log := storage.NewWatchdog(limit, func(err error) { fatal <- err }).Log(store)
			time.AfterFunc(took, func() { close(store.hang) })
			err := log.StoreLog(&raft.Log{Index: 1})
			if errors.Is(err, storage.ErrFailed) != hangs || (len(fatal) > 0) != hangs {
				t.Errorf("a write that took %v: %v, fatal %d times", took, err, len(fatal))
			}
		})
	}
	f(limit-time.Second, false)
	f(limit+time.Second/2, false)
	f(limit+2*time.Second, true)
}

// sickSnapshots makes snapshots that fail as planned.
type sickSnapshots struct {
	raft.SnapshotStore
	make, write, complete, cancel error
}

func (s *sickSnapshots) Create(raft.SnapshotVersion, uint64, uint64, raft.Configuration, uint64, raft.Transport) (raft.SnapshotSink, error) {
	return &sickSink{s}, s.make
}

type sickSink struct{ store *sickSnapshots }

func (s *sickSink) ID() string                  { return "sick" }
func (s *sickSink) Write(p []byte) (int, error) { return len(p), s.store.write }
func (s *sickSink) Close() error                { return s.store.complete }
func (s *sickSink) Cancel() error               { return s.store.cancel }

// TestSnapshotError: what the disk does not take of a snapshot is fatal; that one
// is cancelled is not.
func TestSnapshotError(t *testing.T) {
	broken := errors.New("no space left on device")
	f := func(store *sickSnapshots, cancel bool, want error) {
		t.Helper()
		var fatal []error
		dog := storage.NewWatchdog(time.Minute, func(err error) { fatal = append(fatal, err) })
		snapshots := dog.Snapshots(store)
		take := func() error {
			sink, err := snapshots.Create(1, 7, 1, raft.Configuration{}, 1, nil)
			if err != nil {
				return err
			}
			if _, err := sink.Write([]byte("state")); err != nil || cancel {
				return errors.Join(err, sink.Cancel())
			}
			return sink.Close()
		}
		if err := take(); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if want == nil {
			if err := dog.Log(raft.NewInmemStore()).StoreLog(&raft.Log{Index: 1}); err != nil || len(fatal) > 0 {
				t.Errorf("a write after that: %v, fatal %v", err, fatal)
			}
			return
		}
		if len(fatal) != 1 || !errors.Is(fatal[0], broken) {
			t.Errorf("fatal %v", fatal)
		}
		if err := take(); !errors.Is(err, storage.ErrFailed) {
			t.Errorf("a snapshot after an error: %v", err)
		}
	}
	f(&sickSnapshots{}, false, nil)
	f(&sickSnapshots{}, true, nil)
	f(&sickSnapshots{make: broken}, false, broken)
	f(&sickSnapshots{write: broken}, false, broken)
	f(&sickSnapshots{complete: broken}, false, broken)
	f(&sickSnapshots{cancel: broken}, true, broken)
}

// TestStorageError: the first error is fatal, once; an entry or key that is not
// there is no error.
func TestStorageError(t *testing.T) {
	broken := errors.New("input/output error")
	f := func(do func(raft.LogStore, raft.StableStore) error) {
		t.Helper()
		store := &sick{InmemStore: raft.NewInmemStore()}
		var fatal []error
		dog := storage.NewWatchdog(time.Minute, func(err error) { fatal = append(fatal, err) })
		log, stable := dog.Log(store), dog.Stable(store)
		if err := log.GetLog(9, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
			t.Fatalf("a missing entry: %v", err)
		}
		if _, err := stable.Get([]byte("k")); err == nil || err.Error() != "not found" {
			t.Fatalf("a missing key: %v", err)
		}
		if err := errors.Join(log.StoreLog(&raft.Log{Index: 1}), stable.Set([]byte("k"), []byte("v"))); err != nil || len(fatal) != 0 {
			t.Fatalf("healthy: %v, fatal %v", err, fatal)
		}
		store.err = broken
		if err := do(log, stable); !errors.Is(err, broken) {
			t.Fatalf("got %v", err)
		}
		store.err = nil
		if err := log.StoreLog(&raft.Log{Index: 2}); !errors.Is(err, storage.ErrFailed) {
			t.Fatalf("a write after an error: %v", err)
		}
		if len(fatal) != 1 || !errors.Is(fatal[0], broken) {
			t.Fatalf("fatal %v", fatal)
		}
	}
	f(func(log raft.LogStore, _ raft.StableStore) error { return log.StoreLog(&raft.Log{Index: 2}) })
	f(func(log raft.LogStore, _ raft.StableStore) error { return log.GetLog(1, new(raft.Log)) })
	f(func(_ raft.LogStore, stable raft.StableStore) error { return stable.Set([]byte("k"), nil) })
}
