package audit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// kept keeps a checkpoint of the log beside it, as a node does with its own.
func kept(t *testing.T, dir string, log *audit.Log) audit.Checkpoint {
	t.Helper()
	s, key := signer(t, origin)
	c := checkpoint(t, log)
	note, err := c.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	copies, err := audit.OpenCopies(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := copies.Keep("n1", audit.Signed{Key: key, Note: string(note)}); err != nil {
		t.Fatal(err)
	}
	return c
}

// What a checkpoint covers was on disk, so an end that is not whole any more is
// no crash's work: it stays as it is, and every later search says that there was
// more.
func TestAnEndThatACheckpointCoversIsNotCut(t *testing.T) {
	f := func(change func(last string) string, fault error, line int) {
		t.Helper()
		dir := recorded(t, 5)
		log, _ := open(t, small(dir))
		covered := kept(t, dir, log)
		shut(t, log)
		path := segments(t, dir)[0]
		all := lines(t, dir)
		altered := strings.Join(all[:5], "") + change(all[5])
		overwrite(t, path, altered)

		log, out := open(t, small(dir))
		faults := log.Faults()
		if len(faults) == 0 || !errors.Is(faults[0], fault) || faults[0].Line != line || faults[0].Sequence != 5 {
			t.Fatalf("faults %v, logged %s", faults, out)
		}
		appended(t, log, "after", 2)
		found, err := log.Search(context.Background(), audit.Query{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Damaged) == 0 || len(found.Found) < 6 {
			t.Errorf("a search finds %d traces, and says of damage %q", len(found.Found), found.Damaged)
		}
		for _, trace := range found.Found[:2] {
			if trace.Sequence < covered.Next() {
				t.Errorf("sequence %d is used once more", trace.Sequence)
			}
		}
		shut(t, log)
		if left, err := os.ReadFile(path); err != nil || string(left) != altered {
			t.Errorf("what is left of the segment was changed (%v): %q", err, left)
		}
		r := verify(t, dir)
		if r.Err() == nil || r.Faults[0].File != filepath.Base(path) && !errors.Is(r.Faults[0], audit.ErrMissing) {
			t.Errorf("report %+v", r)
		}
		if len(r.Marks) != 1 || r.Marks[0].Kind != audit.MarkBroken || r.Marks[0].Expected != 5 {
			t.Errorf("marks %+v", r.Marks)
		}
		// What is missing in front of the newest segment begins another one, once.
		for range 3 {
			log, _ = open(t, small(dir))
			appended(t, log, "later", 1)
			shut(t, log)
		}
		if n := len(segments(t, dir)); n > 3 {
			t.Errorf("opened again, it has %d segments", n)
		}
	}
	f(func(last string) string { return strings.Replace(last, "a0a0", "a0a1", 1) }, audit.ErrAltered, 6)
	f(func(last string) string { return last[:len(last)/2] }, audit.ErrAltered, 6)
	f(func(last string) string { return last[:20] + strings.Repeat("\n", 500) }, audit.ErrAltered, 6)
	f(func(string) string { return "" }, audit.ErrMissing, 0)
	f(func(string) string { return strings.Repeat("\n", 500) }, audit.ErrMissing, 0)
}

// A checkpoint of another log, or one that nobody can read, says nothing of
// this one: its torn end is cut.
func TestWhatNoCheckpointCoversIsCut(t *testing.T) {
	f := func(beside func(dir string)) {
		t.Helper()
		dir := recorded(t, 3)
		beside(dir)
		all := lines(t, dir)
		overwrite(t, segments(t, dir)[0], strings.Join(all[:3], "")+all[3][:30])
		log, _ := open(t, small(dir))
		if faults := log.Faults(); len(faults) != 1 || !errors.Is(faults[0], audit.ErrTorn) {
			t.Errorf("faults %v", faults)
		}
		appended(t, log, "after", 1)
		sound(t, dir)
	}
	f(func(string) {})
	f(func(dir string) {
		cfg := small(t.TempDir())
		cfg.Clock = func() time.Time { return time.UnixMilli(1600000000000) }
		log, _ := open(t, cfg)
		appended(t, log, "x", 9)
		kept(t, dir, log)
	})
	f(func(dir string) {
		copies, err := audit.OpenCopies(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := copies.Keep("n1", audit.Signed{Key: "k", Note: "n"}); err != nil {
			t.Fatal(err)
		}
	})
	// The line behind what it covers was torn.
	f(func(dir string) {
		all := content(t, segments(t, dir)[0])
		log, _ := open(t, small(dir))
		shut(t, log)
		whole := strings.SplitAfter(all, "\n")
		overwrite(t, segments(t, dir)[0], strings.Join(whole[:3], ""))
		log, _ = open(t, small(dir))
		kept(t, dir, log)
		shut(t, log)
		overwrite(t, segments(t, dir)[0], all)
	})
}
