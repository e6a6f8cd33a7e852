package storage_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// used fills a directory and closes it.
func used(t *testing.T) *onDisk {
	t.Helper()
	d := &onDisk{dir: filepath.Join(t.TempDir(), "raft"), term: 5, vote: "candidate-b", first: 1, last: 200,
		state: map[uint64][]byte{150: []byte("the state")}}
	s := open(t, d.dir)
	check(t, s.Stable.SetUint64([]byte("CurrentTerm"), d.term))
	for _, vote := range []string{"candidate-a", d.vote} {
		check(t, s.Stable.SetUint64([]byte("LastVoteTerm"), d.term))
		check(t, s.Stable.Set([]byte("LastVoteCand"), []byte(vote)))
	}
	for i := d.first; i <= d.last; i++ {
		check(t, s.Log.StoreLog(entry(i, entryText(i))))
	}
	snapshot(t, s, 150, d.state[150])
	check(t, s.Close())
	return d
}

// read opens a copy of the directory that was damaged, and reads all of it. What
// is refused must be so the next time.
func (d *onDisk) read(t *testing.T, damage func(dir string)) error {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "raft")
	check(t, os.CopyFS(dir, os.DirFS(d.dir)))
	damage(dir)
	err := d.readAt(t, dir)
	if err != nil {
		if again := d.readAt(t, dir); !errors.Is(again, storage.ErrDamaged) {
			return fmt.Errorf("it says %q, and at the next start %w", err, cmp.Or(again, errors.New("nothing")))
		}
	}
	return err
}

func (d *onDisk) readAt(t *testing.T, dir string) error {
	t.Helper()
	s, err := storage.Open(config(dir))
	if err != nil {
		return err
	}
	defer func() { check(t, s.Close()) }()
	if err := s.Check(); err != nil {
		return err
	}
	return d.missing(s)
}

// edit changes a file of a directory.
func edit(t *testing.T, name string, change func(text []byte) []byte) func(dir string) {
	return func(dir string) {
		t.Helper()
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		check(t, err)
		check(t, os.WriteFile(path, change(text), 0o600))
	}
}

// newerHead is where the head of a bbolt file is that counts.
func newerHead(file []byte) int {
	size := os.Getpagesize()
	if binary.NativeEndian.Uint64(file[size+64:]) > binary.NativeEndian.Uint64(file[64:]) {
		return size
	}
	return 0
}

// flip changes a bit.
func flip(at func(text []byte) int) func([]byte) []byte {
	return func(text []byte) []byte {
		text[at(text)] ^= 4
		return text
	}
}

// TestDamage: a directory of which something is damaged or gone is refused in one
// sentence that says what to do.
func TestDamage(t *testing.T) {
	d := used(t)
	if err := d.read(t, func(string) {}); err != nil {
		t.Fatalf("without any damage: %v", err)
	}
	f := func(name string, damage func(dir string)) {
		t.Run(name, func(t *testing.T) {
			err := d.read(t, damage)
			if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "join it again under another id") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, file := range []string{"log.db", "stable.db"} {
		f(file+" is gone", func(dir string) { check(t, os.Remove(filepath.Join(dir, file))) })
		f(file+" is empty", edit(t, file, func([]byte) []byte { return nil }))
		f(file+" is all zeros", edit(t, file, func(text []byte) []byte { return make([]byte, len(text)) }))
		f(file+" is no such file", edit(t, file, func([]byte) []byte { return bytes.Repeat([]byte("no"), 40_000) }))
		for _, kept := range []int{1, 100, os.Getpagesize(), 2*os.Getpagesize() + 1, 3 * os.Getpagesize()} {
			f(file+" is cut short", edit(t, file, func(text []byte) []byte { return text[:kept] }))
		}
		f(file+" has another head", edit(t, file, flip(func(text []byte) int { return newerHead(text) + 50 })))
		f(file+" has a head of zeros", edit(t, file, func(text []byte) []byte {
			clear(text[newerHead(text):][:os.Getpagesize()])
			return text
		}))
		f(file+" has another root", edit(t, file, flip(func(text []byte) int {
			return int(binary.NativeEndian.Uint64(text[newerHead(text)+32:]))*os.Getpagesize() + 8
		})))
	}
	f("an entry's text is another", edit(t, "log.db", flip(func(text []byte) int { return bytes.Index(text, entryText(170)) + 60 })))
	f("the log has another name", edit(t, "log.db", func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("logs"), []byte("logt")) }))
	f("the votes have another name", edit(t, "stable.db", func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("stable"), []byte("stabld")) }))
	f("the vote is for another", edit(t, "stable.db", func(text []byte) []byte {
		return bytes.ReplaceAll(text, []byte("candidate-b"), []byte("candidate-c"))
	}))
	meta, err := filepath.Glob(filepath.Join(d.dir, "snapshots", "*", "meta.json"))
	check(t, err)
	name, err := filepath.Rel(d.dir, meta[0])
	check(t, err)
	f("the description of a snapshot is cut short", edit(t, name, func(text []byte) []byte { return text[:len(text)/2] }))
	f("the description of a snapshot is empty", edit(t, name, func([]byte) []byte { return nil }))
	f("the description of a snapshot is gone", func(dir string) { check(t, os.Remove(filepath.Join(dir, name))) })
	f("the snapshot is another one's", edit(t, name, func(text []byte) []byte { return bytes.Replace(text, []byte(`"ID":"1`), []byte(`"ID":"2`), 1) }))
}

// TestAStartCutShort: a directory in which a first start, or the founding of a
// cluster, was cut short has lost nothing, and is taken.
func TestAStartCutShort(t *testing.T) {
	begun := filepath.Join(t.TempDir(), "raft")
	check(t, open(t, begun).Close())
	f := func(name string, kept ...string) {
		for _, left := range []string{"gone", "empty"} {
			t.Run(name+", the rest is "+left, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "raft")
				check(t, os.CopyFS(dir, os.DirFS(begun)))
				for _, file := range []string{"log.db", "stable.db"} {
					if slices.Contains(kept, file) {
						continue
					}
					if left == "gone" {
						check(t, os.Remove(filepath.Join(dir, file)))
					} else {
						check(t, os.Truncate(filepath.Join(dir, file), 0))
					}
				}
				s := open(t, dir)
				check(t, s.Check())
				check(t, s.Stable.SetUint64([]byte("CurrentTerm"), 1)) // before the first entry
				check(t, s.Close())
				check(t, open(t, dir).Check())
			})
		}
	}
	f("neither file is made")
	f("the votes have a file", "stable.db")
	f("the log has a file", "log.db")
	f("both have", "log.db", "stable.db")
}

// TestFlippedBits: wherever a bit is flipped at the beginning of a page, all that
// was acknowledged is read, or an error; never something else, or a panic.
func TestFlippedBits(t *testing.T) {
	d := used(t)
	entries := func(dir string) error { // without a flush
		s, err := storage.OpenStopped(dir, hclog.NewNullLogger())
		if err != nil {
			return err
		}
		defer func() { check(t, s.Close()) }()
		for i := d.first; i <= d.last; i++ {
			e := entry(0, nil)
			if err := s.Log.GetLog(i, e); err != nil {
				return err
			}
			if !bytes.Equal(e.Data, entryText(i)) || e.Index != i || e.Term != 1 {
				t.Errorf("entry %d is read as %+v", i, e)
			}
		}
		return nil
	}
	vote := func(dir string) error {
		s, err := storage.Open(config(dir))
		if err != nil {
			return err
		}
		defer func() { check(t, s.Close()) }()
		term, _ := s.Stable.GetUint64([]byte("CurrentTerm"))
		voteTerm, _ := s.Stable.GetUint64([]byte("LastVoteTerm"))
		vote, _ := s.Stable.Get([]byte("LastVoteCand"))
		if term != d.term || voteTerm != d.term || string(vote) != d.vote {
			t.Errorf("term %d, vote in %d for %q", term, voteTerm, vote)
		}
		return nil
	}
	f := func(file string, each int, read func(dir string) error) {
		text, err := os.ReadFile(filepath.Join(d.dir, file))
		check(t, err)
		dir, refused := t.TempDir(), 0
		under, err := os.Create(filepath.Join(dir, file))
		check(t, err)
		defer under.Close()
		high := int(binary.NativeEndian.Uint64(text[newerHead(text)+56:])) * os.Getpagesize() // free from here on
		check(t, under.Truncate(int64(len(text))))
		for page := 0; page < high; page += os.Getpagesize() {
			for at := page; at < page+190; at += each {
				text[at] ^= 4
				_, err := under.WriteAt(text[:high], 0) // to cut it to nothing first may flush it
				check(t, err)
				err = read(dir)
				text[at] ^= 4
				if err != nil {
					refused++
				}
				if err != nil && !errors.Is(err, storage.ErrDamaged) && !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("a bit at %d of %s: %v", at, file, err)
				}
			}
		}
		if refused < 5 {
			t.Errorf("%d bits of %s matter: this test tests nothing", refused, file)
		}
	}
	f("log.db", 61, entries)
	f("stable.db", 37, vote)
}

// A node that is killed while an old snapshot is removed starts again, and the
// rest of that one goes with the next erasure.
func TestARemovalCutShort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	check(t, s.Stable.SetUint64([]byte("CurrentTerm"), 1))
	snapshot(t, s, 9, []byte("newer"))
	check(t, s.Close())
	left := filepath.Join(dir, "snapshots", "1-7-1")
	check(t, os.Mkdir(left, 0o700))
	check(t, os.WriteFile(filepath.Join(left, "state.bin"), []byte("deleted since"), 0o600))
	s = open(t, dir)
	if err := s.Check(); err != nil {
		t.Errorf("it does not start: %v", err)
	}
	check(t, s.Erase(9))
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is left of the old one stays: %v", err)
	}
	if newest, err := storage.NewestSnapshot(dir); err != nil || newest.Index != 9 {
		t.Errorf("the newest is %+v (%v)", newest, err)
	}
}
