package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/server/audit"
)

func reader(t testing.TB, log *audit.Log, q *audit.Query) *audit.Reader {
	t.Helper()
	r, err := log.NewReader(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// readOn reads from a place to the end of the log.
func readOn(t testing.TB, r *audit.Reader, above uint64, lines, size int) (all []audit.Line, b audit.Batch) {
	t.Helper()
	lost, damaged := uint64(0), []string(nil)
	for {
		var err error
		if b, err = r.Read(t.Context(), above, lines, size); err != nil {
			t.Fatal(err)
		}
		if len(b.Lines) > lines || b.Above < above || b.Above > b.End {
			t.Fatalf("%d lines, from %d to %d of %d", len(b.Lines), above, b.Above, b.End)
		}
		all, lost, damaged = append(all, b.Lines...), lost+b.Lost, append(damaged, b.Damaged...)
		if b.Above == b.End {
			b.Lost, b.Damaged = lost, damaged
			return all, b
		}
		if b.Above == above {
			t.Fatalf("a batch comes no further than %d of %d", above, b.End)
		}
		above = b.Above
	}
}

// Whatever the size of batches and wherever it begins, a reader sees every line
// once, in order, over packed and plain segments, and as it is on disk.
func TestReader(t *testing.T) {
	const n = 300
	log, dir := filled(t, n)
	var want []string
	for _, path := range packed(t, dir) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := audit.Unpack(text)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, slices.Collect(strings.Lines(string(plain)))...)
	}
	want = append(want, lines(t, dir)...)
	want = slices.DeleteFunc(want, func(l string) bool { return strings.HasPrefix(l, `{"segment":`) })
	if len(want) != n {
		t.Fatalf("%d lines on disk", len(want))
	}
	f := func(above uint64, most, size int) {
		t.Helper()
		got, b := readOn(t, reader(t, log, nil), above, most, size)
		if b.End != n || b.Lost > 0 || len(b.Damaged) > 0 || len(got) != n-int(above) {
			t.Fatalf("from %d: %d lines, end %d, lost %d, damaged %v", above, len(got), b.End, b.Lost, b.Damaged)
		}
		for i, l := range got {
			if raw := string(l.AppendRaw(nil)); raw != want[int(above)+i] || l.Sequence != above+uint64(i)+1 {
				t.Fatalf("line %d is %d: %s", int(above)+i, l.Sequence, raw)
			}
		}
	}
	for _, most := range []int{1, 7, 1000} {
		f(0, most, 1<<20)
	}
	f(0, 1000, 1)
	for above := range uint64(n) {
		f(above, 1000, 4<<10)
	}
}

// A reader of some traces comes to the end as well, and follows what is written.
func TestReaderOfAQuery(t *testing.T) {
	log, _ := filled(t, 300)
	r := reader(t, log, &audit.Query{ResourceID: "key-3", Except: "listKeys", Above: 299, Below: 1, Limit: 1})
	var want []string
	for i := range 300 {
		if v := varied(i); v.ResourceID == "key-3" && v.TraceName != "listKeys" {
			want = append(want, v.RequestID)
		}
	}
	idsOf := func(all []audit.Line) (ids []string) {
		for _, l := range all {
			_, after, _ := strings.Cut(string(l.Body), `"request_id":"`)
			id, _, _ := strings.Cut(after, `"`)
			ids = append(ids, id)
		}
		return ids
	}
	got, b := readOn(t, r, 0, 3, 1<<20)
	if diff := cmp.Diff(idsOf(got), want); diff != "" || b.Above != 300 {
		t.Errorf("to %d: -got +want\n%s", b.Above, diff)
	}
	for i := 300; i < 400; i++ {
		if err := log.Append(t.Context(), varied(i)); err != nil {
			t.Fatal(err)
		}
		got, b := readOn(t, r, uint64(i), 10, 1<<20)
		v := varied(i)
		if fits := v.ResourceID == "key-3" && v.TraceName != "listKeys"; fits != (len(got) == 1) || b.Above != uint64(i+1) {
			t.Errorf("record %d: %v", i, idsOf(got))
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if b, err := r.Read(ended, 0, 10, 1<<20); err != nil || len(b.Lines) > 0 || b.Above != 0 {
		t.Errorf("after the end of its context: %+v, %v", b, err)
	}
}

// Only what is on disk for good is read: it cannot be taken back by a crash.
func TestReaderWaitsForTheDisk(t *testing.T) {
	dir := t.TempDir()
	d := &disk{dir: dir}
	cfg := small(dir).OnDisk(d.open)
	cfg.Sync, cfg.Interval = audit.SyncInterval, 1<<40
	log, _ := open(t, cfg)
	appended(t, log, "unsynced", 5)
	if got, b := readOn(t, reader(t, log, nil), 0, 100, 1<<20); len(got) > 0 || b.End != 0 || log.Durable() != 0 {
		t.Errorf("%d lines were read that are not on disk; end %d, durable %d", len(got), b.End, log.Durable())
	}
}

// What is not there any more, or is damaged, is said, and passed over.
func TestReaderOfADamagedLog(t *testing.T) {
	f := func(damage func(t *testing.T, log *audit.Log, dir string), above uint64, lines int, lost uint64, damaged string) {
		t.Helper()
		log, dir := filled(t, 300)
		damage(t, log, dir)
		got, b := readOn(t, reader(t, log, nil), above, 50, 1<<20)
		if lines != 0 && len(got) != lines || len(got) == 0 || lost != 0 && b.Lost == 0 || !strings.Contains(fmt.Sprint(b.Damaged), damaged) || (damaged == "") != (len(b.Damaged) == 0) {
			t.Errorf("%d lines, lost %d, damaged %v", len(got), b.Lost, b.Damaged)
		}
	}
	f(func(*testing.T, *audit.Log, string) {}, 0, 300, 0, "")
	f(func(t *testing.T, _ *audit.Log, dir string) { // a bit of a packed segment
		path := packed(t, dir)[3]
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)/2] ^= 1
		overwrite(t, path, string(text))
	}, 0, 0, 0, "altered")
	f(func(t *testing.T, _ *audit.Log, dir string) { // a segment
		if err := os.Remove(packed(t, dir)[3]); err != nil {
			t.Fatal(err)
		}
	}, 0, 0, 0, "missing")
	f(func(t *testing.T, _ *audit.Log, dir string) { // an index, which is made again
		if err := os.Remove(strings.Replace(packed(t, dir)[3], ".jsonl.zst", ".index", 1)); err != nil {
			t.Fatal(err)
		}
	}, 0, 300, 0, "")
	f(func(t *testing.T, _ *audit.Log, dir string) { // a bit of the segment that is written to
		path := segments(t, dir)[0]
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.LastIndex(string(text), `"trace_name":"`) + len(`"trace_name":"`)
		text[at] ^= 1
		overwrite(t, path, string(text))
	}, 0, 300, 0, "altered: the line with sequence 300")
}

// A log that retention has shortened says how much is lost; one that ends before
// the place is another log.
func TestReaderOfAnotherLog(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.RetentionSize = 20 << 10
	log, _ := open(t, cfg)
	appended(t, log, "a", 200)
	first := segments(t, dir)[0]
	var oldest uint64
	if _, err := fmt.Sscanf(filepath.Base(first), "traces-%d.jsonl", &oldest); err != nil || oldest < 2 {
		t.Fatalf("nothing was dropped: %s, %v", first, err)
	}
	got, b := readOn(t, reader(t, log, nil), 0, 10, 1<<20)
	if b.Lost != oldest-1 || len(got) == 0 || got[0].Sequence != oldest {
		t.Errorf("lost %d, the oldest is %d, the first read %d", b.Lost, oldest, got[0].Sequence)
	}
	marks := 0
	for _, l := range got {
		if l.Mark {
			marks++
		}
	}
	if marks == 0 {
		t.Error("no mark was read")
	}
	if _, err := reader(t, log, nil).Read(t.Context(), 1e6, 1, 1); !errors.Is(err, audit.ErrBehind) {
		t.Errorf("beyond the end: %v", err)
	}
}
