package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

func TestRetentionByAge(t *testing.T) {
	const day = 24 * time.Hour
	now := time.UnixMilli(1700000000000)
	cfg := small(t.TempDir())
	cfg.Clock = func() time.Time { return now }
	log, _ := open(t, cfg)
	appended(t, log, "old", 20)
	now = now.Add(-day) // a clock that goes back harms nothing
	appended(t, log, "back", 1)
	now = now.Add(7 * day)
	appended(t, log, "week", 1)
	if r := sound(t, cfg.Dir); r.Records != 22 || r.First != 1 {
		t.Errorf("too early: %+v", r)
	}
	now = now.Add(8 * day)
	appended(t, log, "new", 1)
	r := sound(t, cfg.Dir)
	if r.First != 22 || len(r.Marks) != 1 || r.Marks[0].Reason != "age" || r.Marks[0].From != 1 || r.Marks[0].Before != 22 {
		t.Errorf("report %+v", r)
	}
	for i, path := range segments(t, cfg.Dir) {
		if i > 0 && content(t, path) == "\n" {
			t.Errorf("%s is empty", path)
		}
	}
}

func TestRetentionBySize(t *testing.T) {
	cfg := small(t.TempDir())
	cfg.RetentionSize = 64 << 10
	log, _ := open(t, cfg)
	appended(t, log, "x", 200)
	shut(t, log)
	d := disk{dir: cfg.Dir}
	if n := d.used(); n > cfg.RetentionSize+32<<10 || n < cfg.RetentionSize/2 {
		t.Errorf("the log has %d bytes", n)
	}
	r := sound(t, cfg.Dir)
	if r.First == 1 || len(r.Marks) == 0 || r.Marks[len(r.Marks)-1].Reason != "size" || r.Marks[len(r.Marks)-1].Before != r.First {
		t.Errorf("report %+v", r)
	}
	// One who removes one more is found out.
	if err := os.Remove(segments(t, cfg.Dir)[0]); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, cfg.Dir); r.Err() == nil {
		t.Error("a segment is missing, and nothing is said")
	}
}

// A crash between the mark and the removal: the removal is made good, and the
// log is sound before and after.
func TestADropThatWasInterrupted(t *testing.T) {
	cfg := small(t.TempDir())
	log, _ := open(t, cfg)
	appended(t, log, "x", 50)
	kept := copied(t, cfg.Dir)
	shut(t, log)
	smaller := cfg
	smaller.RetentionSize = 40 << 10
	log, _ = open(t, smaller)
	shut(t, log)
	dropped := 0
	left := make(map[string]bool)
	for _, path := range segments(t, cfg.Dir) {
		left[filepath.Base(path)] = true
	}
	for _, path := range segments(t, kept) {
		if name := filepath.Base(path); !left[name] {
			dropped++
			overwrite(t, filepath.Join(cfg.Dir, name), content(t, path))
		}
	}
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	if r := sound(t, cfg.Dir); r.First != 1 {
		t.Errorf("report %+v", r)
	}
	log, _ = open(t, cfg)
	if len(log.Faults()) > 0 {
		t.Error(log.Faults()[0])
	}
	if got := len(segments(t, cfg.Dir)); got != len(left) {
		t.Errorf("%d segments, want %d", got, len(left))
	}
	sound(t, cfg.Dir)
}

func ExampleVerify() {
	report, err := audit.Verify("audit")
	if err != nil {
		fmt.Println("the log could not be read")
		return
	}
	if fault := report.Err(); fault != nil {
		fmt.Println("the log was altered:", fault)
	}
	// Output: the log could not be read
}
