package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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

// A clock that runs ahead drops nothing before others have seen as much time pass.
func TestRetentionByAgeWithAWrongClock(t *testing.T) {
	const day = 24 * time.Hour
	right := time.UnixMilli(1700000000000)
	ahead := time.Duration(0)
	cfg := small(t.TempDir())
	cfg.Clock = func() time.Time { return right.Add(ahead) }
	cfg.Vouched = func() time.Time { return right }
	log, _ := open(t, cfg)
	appended(t, log, "old", 40)
	ahead = 365 * day
	appended(t, log, "ahead", 1)
	right = right.Add(2 * day) // a new segment, so that retention looks
	appended(t, log, "ahead", 1)
	if r := sound(t, cfg.Dir); r.First != 1 || r.Records != 42 {
		t.Errorf("too early: %+v", r)
	}
	ahead = 0
	right = right.Add(8 * day)
	appended(t, log, "new", 20) // more than the segment from the future takes
	if r := sound(t, cfg.Dir); r.First == 1 || len(r.Marks) != 1 || r.Marks[0].Reason != "age" {
		t.Errorf("report %+v", r)
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

// What others still need is not removed because of its age; a limit of size
// removes it, and the mark says what was lost.
func TestRetentionWaitsForOthers(t *testing.T) {
	const day = 24 * time.Hour
	now := time.UnixMilli(1700000000000)
	cfg := small(t.TempDir())
	cfg.Clock = func() time.Time { return now }
	log, _ := open(t, cfg)
	log.Exported(0)
	log.Published(0)
	appended(t, log, "old", 40)
	now = now.Add(20 * day)
	appended(t, log, "new", 1)
	kept := func(first uint64) audit.Report {
		t.Helper()
		r := sound(t, cfg.Dir)
		if r.First != first {
			t.Fatalf("the log begins with %d, want %d", r.First, first)
		}
		return r
	}
	kept(1)
	again := func() {
		now = now.Add(day) // a new segment, so that retention looks
		appended(t, log, "more", 1)
	}
	log.Exported(100)
	again()
	kept(1) // no checkpoint covers it
	log.Published(25)
	log.Published(3) // positions do not go back
	again()
	r := sound(t, cfg.Dir)
	if r.First == 1 || r.First > 25 || len(r.Marks) != 1 || r.Marks[0].Unexported != 0 || r.Marks[0].Unpublished != 0 {
		t.Errorf("report %+v", r)
	}
	shut(t, log)

	cfg = small(t.TempDir())
	cfg.RetentionSize = 40 << 10
	log, out := open(t, cfg)
	log.Exported(5)
	appended(t, log, "x", 100)
	marks := sound(t, cfg.Dir).Marks
	if len(marks) == 0 {
		t.Fatal("nothing was removed")
	}
	for _, m := range marks {
		if m.Reason != "size" || m.Unexported != m.From || m.Unpublished != 0 {
			t.Errorf("mark %+v", m)
		}
	}
	if !strings.Contains(out.String(), "before they were exported") {
		t.Errorf("nothing is logged: %s", out)
	}
}

// A clock that goes back neither removes anything nor hides it from a search.
func TestAClockThatGoesBack(t *testing.T) {
	now := time.UnixMilli(1700000000000)
	cfg := small(t.TempDir())
	cfg.Clock = func() time.Time { return now }
	log, _ := open(t, cfg)
	for i := range 60 {
		now = now.Add(-time.Hour)
		r := named(fmt.Sprint("x-", i))
		r.Time, r.RecordTime = now, now
		if err := log.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if r := sound(t, cfg.Dir); r.First != 1 || r.Records != 60 {
		t.Errorf("report %+v", r)
	}
	a, err := log.Search(t.Context(), audit.Query{After: now.UnixMilli() - 1, Before: now.Add(10 * time.Hour).UnixMilli(), Limit: 100})
	if err != nil || len(a.Found) != 10 || a.Found[0].Sequence != 60 {
		t.Errorf("%d found, %v", len(a.Found), err)
	}
}
