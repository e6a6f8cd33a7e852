package audit

import (
	"testing"
	"time"
)

// A log is busy while many lines come within one look, and quiet after a look
// with few.
func TestPace(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := pace{at: now, next: 1}
	next := uint64(1)
	f := func(after time.Duration, lines uint64, want bool) {
		t.Helper()
		now, next = now.Add(after), next+lines
		if got := p.look(now, next); got != want {
			t.Errorf("%d lines in %v: busy is %v", lines, after, got)
		}
	}
	f(0, 0, false)
	f(time.Second, 100, false)
	f(time.Second, busyRecords, true)
	f(time.Second, 0, true) // too soon to tell
	f(busyLook, 10, false)
	f(time.Millisecond, busyRecords-11, false)
	f(time.Millisecond, 11, true)
	f(10*busyLook, 1, false)
}

// While a log is busy, a few closed segments wait, and no more; when it is
// quiet, all are packed.
func TestPackingWaitsForAQuietTime(t *testing.T) {
	dir := t.TempDir()
	log, err := OpenConfig(Config{Dir: dir, NodeID: "n1", Sync: SyncInterval, SegmentSize: 256 << 10, Reserve: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	waiting := func() (n int) {
		for _, s := range log.unopened() {
			if !s.packed {
				n++
			}
		}
		return n
	}
	most := 0
	began := time.Now()
	for i := 0; time.Since(began) < 3*time.Second; i++ {
		r := Record{TraceName: "createDataKey", Rating: RatingNormal, Time: time.UnixMilli(int64(i)), RecordTime: time.UnixMilli(int64(i))}
		if err := log.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			most = max(most, waiting())
		}
		if i%5000 == 0 {
			time.Sleep(20 * time.Millisecond) // else nothing can keep up on a machine that is loaded
		}
	}
	if most == 0 {
		t.Error("a busy log does not let segments wait")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		plain, err := listSegments(dir)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, s := range plain {
			if !s.packed {
				left++
			}
		}
		if left == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d segments are not packed in a quiet time", left-1)
		}
	}
}
