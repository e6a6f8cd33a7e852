package storage_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/cluster/storage"
)

// onDisk is a storage directory on a disk that keeps in memory what nobody has
// it flush, and what was acknowledged of it.
type onDisk struct {
	disk   *nemesis.Volume
	dir    string
	term   uint64
	vote   string
	first  uint64 // entry of the log
	last   uint64
	state  map[uint64][]byte // snapshots by their index
	erased []byte            // must be in no file; nil: nothing was erased
}

// entryText is long, so that a deletion leaves pages that are free.
func entryText(index uint64) []byte { return fmt.Appendf(nil, "entry %0200d", index) }

// cut has the power fail, and looks at what is there when it is back.
func (d *onDisk) cut(t *testing.T, when string) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "after")
	after, err := d.disk.PowerCut(filepath.Join(t.TempDir(), "image"), at)
	check(t, err)
	defer func() { check(t, after.Close()) }()
	check(t, filepath.WalkDir(at, func(path string, f fs.DirEntry, err error) error {
		if err != nil || d.erased == nil || !f.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, d.erased) {
			t.Errorf("a power cut after %s: %s still holds what was erased", when, f.Name())
		}
		return err
	}))
	s, err := storage.Open(config(filepath.Join(at, "raft")))
	if err != nil {
		t.Errorf("a power cut after %s: %v", when, err)
		return
	}
	defer func() { check(t, s.Close()) }()
	if missing := d.missing(s); missing != nil {
		t.Errorf("a power cut after %s: %v", when, missing)
	}
}

// missing says what of the acknowledged is not there.
func (d *onDisk) missing(s *storage.Stores) error {
	term, _ := s.Stable.GetUint64([]byte("CurrentTerm"))
	voteTerm, _ := s.Stable.GetUint64([]byte("LastVoteTerm"))
	vote, _ := s.Stable.Get([]byte("LastVoteCand"))
	if term != d.term || voteTerm != d.term || string(vote) != d.vote {
		return fmt.Errorf("term %d, and a vote for %q in term %d; it was for %q in term %d", term, vote, voteTerm, d.vote, d.term)
	}
	first, err := s.Log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.Log.LastIndex()
	if err != nil {
		return err
	}
	if first != d.first || last != d.last {
		return fmt.Errorf("the log is %d to %d; it was %d to %d", first, last, d.first, d.last)
	}
	for i := first; i <= last && i > 0; i++ {
		e := entry(0, nil)
		if err := s.Log.GetLog(i, e); err != nil {
			return err
		}
		if e.Index != i || !bytes.Equal(e.Data, entryText(i)) {
			return fmt.Errorf("entry %d is %d, %q", i, e.Index, e.Data)
		}
	}
	found, err := s.Snapshots.List()
	if err != nil {
		return err
	}
	if len(found) != len(d.state) {
		return fmt.Errorf("%d snapshots; there were %d", len(found), len(d.state))
	}
	for _, meta := range found {
		_, r, err := s.Snapshots.Open(meta.ID)
		if err != nil {
			return err
		}
		state, err := io.ReadAll(r)
		r.Close()
		if err != nil || !bytes.Equal(state, d.state[meta.Index]) {
			return fmt.Errorf("the snapshot at %d has %d bytes, %v; it had %d", meta.Index, len(state), err, len(d.state[meta.Index]))
		}
	}
	return nil
}

// deletedStill is the text of a deleted entry that still stands in the log's file.
func (d *onDisk) deletedStill(t *testing.T) []byte {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(d.dir, "log.db"))
	check(t, err)
	for i := range d.first {
		if deleted := entryText(i); bytes.Contains(file, deleted) {
			return deleted
		}
	}
	t.Fatal("nothing is left to be erased: this test tests nothing")
	return nil
}

// TestPowerCut: what was acknowledged is there after a power cut, which loses
// what was written and not flushed; what was deleted is not there again.
func TestPowerCut(t *testing.T) {
	if trouble := nemesis.VolumeTrouble(); trouble != nil {
		t.Logf("no power is cut here: %v", trouble)
		return
	}
	at := filepath.Join(t.TempDir(), "disk")
	disk, err := nemesis.NewVolume(filepath.Join(t.TempDir(), "image"), at, 32<<20)
	check(t, err)
	t.Cleanup(func() { check(t, disk.Close()) })
	check(t, disk.KeepUnflushed())
	d := &onDisk{disk: disk, dir: filepath.Join(at, "raft"), state: make(map[uint64][]byte)}
	s := open(t, d.dir)
	d.cut(t, "the start")

	voteFor := func(term uint64, candidate string) {
		t.Helper()
		check(t, s.Stable.SetUint64([]byte("CurrentTerm"), term))
		check(t, s.Stable.SetUint64([]byte("LastVoteTerm"), term))
		check(t, s.Stable.Set([]byte("LastVoteCand"), []byte(candidate)))
		d.term, d.vote = term, candidate
	}
	write := func(first, last uint64) {
		t.Helper()
		entries := make([]*raft.Log, 0, last-first+1)
		for i := first; i <= last; i++ {
			entries = append(entries, entry(i, entryText(i)))
		}
		check(t, s.Log.StoreLogs(entries))
		d.first, d.last = max(d.first, 1), last
	}
	snap := func(index uint64) {
		t.Helper()
		d.state[index] = bytes.Repeat(fmt.Append(nil, "state ", index), 10_000)
		snapshot(t, s, index, d.state[index])
	}

	voteFor(3, "b")
	d.cut(t, "a vote")
	write(1, 100)
	d.cut(t, "some entries")
	write(101, 101)
	d.cut(t, "one entry")
	snap(60)
	d.cut(t, "a snapshot")
	check(t, s.Log.DeleteRange(1, 40))
	d.first = 41
	d.cut(t, "a deletion at the log's beginning")
	check(t, s.Log.DeleteRange(91, 101))
	d.last = 90
	d.cut(t, "a deletion at its end")
	snap(80)
	d.erased = d.deletedStill(t)
	check(t, s.Erase(80))
	delete(d.state, 60)
	d.cut(t, "an erasure")
	write(91, 95)
	d.cut(t, "entries in a log that was written anew")
	voteFor(4, "c")
	d.cut(t, "another vote")
	snap(95)
	check(t, s.Settle(95, 7)) // the log's entry 95 is of another term
	d.first, d.last = 0, 0
	d.cut(t, "a snapshot that takes the log's place")
	check(t, s.Close())
	d.cut(t, "the end")
}
