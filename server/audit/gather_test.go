package audit_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// signedLog is a packed log of 100 records, with its signed checkpoints beside
// it, and the public key.
func signedLog(t *testing.T) (dir, key string) {
	t.Helper()
	dir = t.TempDir()
	now := time.UnixMilli(1700000000000)
	cfg := packing(dir)
	cfg.Clock = func() time.Time { return now }
	log, _ := open(t, cfg)
	s, key := signer(t, origin)
	copies, err := audit.OpenCopies(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		appended(t, log, "x", 10)
		now = now.Add(time.Hour)
		c := checkpoint(t, log)
		note, err := c.Sign(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := copies.Keep("n1", audit.Signed{Key: key, Note: string(note), Kept: now.UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	packed(t, dir)
	shut(t, log)
	return dir, key
}

// Whatever is done to a copied directory is named, by whoever has the public
// key and copies that were kept elsewhere.
func TestVerifyOffline(t *testing.T) {
	dir, key := signedLog(t)
	elsewhere := copied(t, filepath.Join(dir, audit.CopiesDir))
	f := func(name string, change func(t *testing.T, dir string), want string) {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, dir)
			change(t, dir)
			found, err := audit.Gather(dir, []string{key}, elsewhere)
			if err != nil {
				t.Fatal(err)
			}
			r, err := audit.VerifyAgainst(context.Background(), dir, audit.Against{Checkpoints: found.Checkpoints})
			if err != nil {
				t.Fatal(err)
			}
			switch fault := r.Err(); {
			case want == "" && (fault != nil || r.Proved != 10 || r.Covered != r.Last):
				t.Errorf("%v, %d proved, covered to %d of %d", fault, r.Proved, r.Covered, r.Last)
			case want != "" && (fault == nil || !strings.Contains(fault.Error(), want)):
				t.Errorf("fault %v, want %q", fault, want)
			}
		})
	}
	names := func(t *testing.T, dir string) []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(dir, "traces-*.jsonl*"))
		if err != nil || len(all) < 5 {
			t.Fatalf("%d segments, %v", len(all), err)
		}
		return all
	}
	forged := func(t *testing.T, dir string, cfg audit.Config, n int) {
		t.Helper()
		all, _ := filepath.Glob(filepath.Join(dir, "traces-*"))
		for _, name := range all {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Dir = dir
		log, _ := open(t, cfg)
		appended(t, log, "forged", n)
		shut(t, log)
	}
	f("nothing", func(*testing.T, string) {}, "")
	f("its own copies are gone", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, audit.CopiesDir)) }, "")
	f("one bit", func(t *testing.T, dir string) {
		path := names(t, dir)[2]
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/2] ^= 4
		overwrite(t, path, string(raw))
	}, filepath.Base(names(t, dir)[2]))
	f("the end is cut", func(t *testing.T, dir string) {
		all := names(t, dir)
		os.Remove(all[len(all)-1])
	}, "missing: the checkpoint of 2023-11-15T")
	f("a segment is gone", func(t *testing.T, dir string) { os.Remove(names(t, dir)[3]) }, "missing: the segment begins with sequence")
	f("segments change places", func(t *testing.T, dir string) {
		all := names(t, dir)
		for _, move := range [][2]string{{all[1], all[1] + "~"}, {all[2], all[1]}, {all[1] + "~", all[2]}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
	}, filepath.Base(names(t, dir)[1]))
	f("another log, begun at the same time", func(t *testing.T, dir string) { forged(t, dir, packing(dir), 200) }, "is not the one of the checkpoint")
	f("another log, begun earlier", func(t *testing.T, dir string) {
		cfg := packing(dir)
		cfg.Clock = func() time.Time { return time.UnixMilli(1600000000000) }
		forged(t, dir, cfg, 200)
	}, "this is another log than the one of the checkpoint")
}

// A log that begins after the newest checkpoint of another one is that of a node
// that joined anew, or a forgery: whoever verifies is told of it.
func TestGatherTellsOfEarlierLogs(t *testing.T) {
	dir, key := signedLog(t)
	anew := packing(t.TempDir())
	anew.Clock = func() time.Time { return time.UnixMilli(1800000000000) }
	log, _ := open(t, anew)
	appended(t, log, "y", 3)
	shut(t, log)
	found, err := audit.Gather(anew.Dir, []string{key}, dir)
	if err != nil || found.Earlier != 10 || len(found.Checkpoints) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	_, other := signer(t, origin)
	if found, err = audit.Gather(dir, []string{other}); err != nil || found.Foreign != 10 || len(found.Checkpoints) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = audit.Gather(dir, nil); err != nil || len(found.Checkpoints) != 10 || len(found.Keys) != 1 || found.Keys[0] != key {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err = audit.Gather(dir, []string{"no key"}); err == nil {
		t.Error("a text that is no key was taken for one")
	}
}

// Since leaves out what is older, and proves the rest all the same.
func TestVerifySince(t *testing.T) {
	dir, _ := signedLog(t)
	whole := sound(t, dir)
	r, err := audit.VerifyAgainst(context.Background(), dir, audit.Against{Since: 1700000000000 + 5*3600_000})
	if err != nil || r.Err() != nil || r.First <= 30 || r.First > 60 || r.Last != whole.Last || r.LastHash != whole.LastHash {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = audit.VerifyAgainst(context.Background(), dir, audit.Against{Since: 1}); err != nil || r.First != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// However many checkpoints of a node come, its file is bounded, and what is
// left is the newest and one of every hour.
func TestCopiesAreBounded(t *testing.T) {
	dir := t.TempDir()
	copies, err := audit.OpenCopies(dir)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 1000)
	path := filepath.Join(dir, audit.CopiesDir, "n1.jsonl")
	overwrite(t, path, `{"key":"torn`)
	for i := range 2500 {
		if err := copies.Keep("n1", audit.Signed{Note: text, Kept: int64(i) * 60_000}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	all, err := copies.Of("n1")
	if err != nil || all[0].Kept != 0 || all[len(all)-1].Kept != 2499*60_000 {
		t.Errorf("%d are left, %v", len(all), err)
	}
	hours := make(map[int64]bool)
	for _, s := range all {
		hours[s.Kept/3600_000] = true
	}
	if len(hours) != 42 {
		t.Errorf("checkpoints of %d hours are left, want 42", len(hours))
	}
	for _, bad := range []string{"", "../n1", "a/b", ".n1"} {
		if err := copies.Keep(bad, audit.Signed{Note: text}); err == nil {
			t.Errorf("%q is a file's name", bad)
		}
		if _, err := audit.ReadCopies(dir, bad); err == nil {
			t.Errorf("%q is a file's name", bad)
		}
	}
}
