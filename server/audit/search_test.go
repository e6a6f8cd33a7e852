package audit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/server/audit"
)

// packing is a configuration with small segments that are packed.
func packing(dir string) audit.Config {
	cfg := small(dir)
	cfg.Plain = false
	return cfg
}

// varied is a record unlike others: which it is decides every field.
func varied(i int) *audit.Record {
	r := record
	r.TraceName = []string{"createDataKey", "decryptDatakey", "listKeys"}[i%3]
	r.Rating = []audit.Rating{audit.RatingNormal, audit.RatingNormal, audit.RatingWarning, audit.RatingIncident}[i%4]
	r.ResourceID, r.ResourceName = fmt.Sprintf("key-%d", i%17), "name \"with\" <signs> é "+fmt.Sprint(i%5)
	r.ResourceType = []string{"cmk", "rng"}[i%2]
	r.User.Name, r.User.AccessKeyID = fmt.Sprintf("user-%d", i%7), fmt.Sprintf("AK%d", i%11)
	r.ProjectID = fmt.Sprintf("p%d", i%2)
	r.RequestID = fmt.Sprintf("request-%d", i)
	if i%19 == 0 { // another key, another owner, and now and then two
		r.OtherID, r.Owners[0] = fmt.Sprintf("other-%d", i%3), fmt.Sprintf("owner-%d", i%4)
		if i%5 == 0 {
			r.Owners[1] = "owner-5"
		}
	}
	r.Time = time.UnixMilli(1700000000000 + int64(i)*10)
	r.RecordTime = r.Time.Add(time.Millisecond)
	return &r
}

// filled is a log of n varied records, the older ones packed.
func filled(t testing.TB, n int) (*audit.Log, string) {
	t.Helper()
	dir := t.TempDir()
	log, _ := open(t, packing(dir))
	for i := range n {
		if err := log.Append(t.Context(), varied(i)); err != nil {
			t.Fatal(err)
		}
	}
	packed(t, dir)
	return log, dir
}

// packed waits until all closed segments are packed, and returns them.
func packed(t testing.TB, dir string) []string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		plain, _ := filepath.Glob(filepath.Join(dir, "traces-*.jsonl"))
		zst, err := filepath.Glob(filepath.Join(dir, "traces-*.jsonl.zst"))
		if err != nil {
			t.Fatal(err)
		}
		if len(plain) == 1 {
			return zst
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d segments are not packed", len(plain)-1)
		}
	}
}

func ids(t testing.TB, found []audit.Found) (ids []string) {
	t.Helper()
	for _, f := range found {
		var r struct {
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte("{"+string(f.Body)+"}"), &r); err != nil {
			t.Fatalf("%s: %v", f.Body, err)
		}
		ids = append(ids, r.RequestID)
	}
	return ids
}

// everything pages through all answers to a query.
func everything(t testing.TB, log *audit.Log, q audit.Query) (found []audit.Found) {
	t.Helper()
	for {
		a, err := log.Search(t.Context(), q)
		if err != nil || len(a.Damaged) > 0 {
			t.Fatalf("%v, damaged %v", err, a.Damaged)
		}
		found = append(found, a.Found...)
		if a.Next == 0 {
			return found
		}
		q.Below = a.Next
	}
}

// What a search finds is what looking at every record finds, the newest first,
// whatever the page size, packed or not.
func TestSearch(t *testing.T) {
	const n = 300
	log, dir := filled(t, n)
	if len(packed(t, dir)) < 20 {
		t.Fatalf("%d packed segments", len(packed(t, dir)))
	}
	f := func(q audit.Query, fits func(i int, r *audit.Record) bool) {
		t.Helper()
		var want []string
		for i := n - 1; i >= 0; i-- {
			if r := varied(i); fits(i, r) {
				want = append(want, r.RequestID)
			}
		}
		for _, limit := range []int{1, 7, 1000} {
			q.Limit = limit
			found := everything(t, log, q)
			if diff := cmp.Diff(ids(t, found), want); diff != "" {
				t.Errorf("%+v: -got +want\n%s", q, diff)
			}
		}
	}
	f(audit.Query{}, func(int, *audit.Record) bool { return true })
	f(audit.Query{ResourceID: "other-1"}, func(_ int, r *audit.Record) bool { return r.OtherID == "other-1" })
	owned := func(_ int, r *audit.Record) bool { return r.Owners[0] == "owner-1" }
	f(audit.Query{ProjectID: "owner-1"}, owned)
	f(audit.Query{ProjectID: "owner-5"}, func(_ int, r *audit.Record) bool { return r.Owners[1] == "owner-5" })
	f(audit.Query{ProjectID: "owner-1", ResourceID: "other-2"}, func(i int, r *audit.Record) bool { return owned(i, r) && r.OtherID == "other-2" })
	f(audit.Query{ProjectID: "p0", ResourceID: "other-2"}, func(i int, r *audit.Record) bool { return r.ProjectID == "p0" && r.OtherID == "other-2" })
	// Nobody finds out by asking what they are not shown.
	for _, q := range []audit.Query{{UserName: "user-0"}, {AccessKeyID: "AK0"}, {RequestID: "request-57"}, {ResourceName: varied(57).ResourceName}} {
		q.ProjectID = varied(57).Owners[0]
		f(q, func(int, *audit.Record) bool { return false })
	}
	f(audit.Query{ResourceID: "key-3"}, func(_ int, r *audit.Record) bool { return r.ResourceID == "key-3" })
	f(audit.Query{ResourceID: "key-3", Rating: "incident"}, func(_ int, r *audit.Record) bool { return r.ResourceID == "key-3" && r.Rating == "incident" })
	f(audit.Query{ResourceName: varied(4).ResourceName}, func(_ int, r *audit.Record) bool { return r.ResourceName == varied(4).ResourceName })
	f(audit.Query{TraceName: "listKeys", ResourceType: "rng"}, func(_ int, r *audit.Record) bool { return r.TraceName == "listKeys" && r.ResourceType == "rng" })
	f(audit.Query{UserName: "user-6", AccessKeyID: "AK1", ProjectID: "p0"}, func(_ int, r *audit.Record) bool {
		return r.User.Name == "user-6" && r.User.AccessKeyID == "AK1" && r.ProjectID == "p0"
	})
	f(audit.Query{RequestID: "request-123"}, func(i int, _ *audit.Record) bool { return i == 123 })
	f(audit.Query{After: varied(10).Time.UnixMilli(), Before: varied(20).Time.UnixMilli()}, func(i int, _ *audit.Record) bool { return i > 10 && i < 20 })
	f(audit.Query{RecordedBy: varied(10).RecordTime.UnixMilli()}, func(i int, _ *audit.Record) bool { return i <= 10 })
	f(audit.Query{UserID: "a0a0", DomainID: "d0d0", Service: "KMS", Type: "ApiCall", Code: "200", SourceIP: "192.0.2.7"}, func(int, *audit.Record) bool { return true })
	// Nothing fits: filters that match nothing, absurd ranges, names of 10,000 characters.
	none := func(int, *audit.Record) bool { return false }
	f(audit.Query{ResourceID: "key-99"}, none)
	f(audit.Query{ResourceID: strings.Repeat("x", 10000)}, none)
	f(audit.Query{After: 1 << 62}, none)
	f(audit.Query{Before: -1 << 62}, none)
	f(audit.Query{After: 5, Before: 4}, none)
	f(audit.Query{Above: 1 << 63}, none)
	f(audit.Query{TraceID: "ffffffff-ffff-8fff-bfff-ffffffffffff"}, none)
	f(audit.Query{TraceName: "listKeys\",\"x\":\""}, none)

	// A trace's id leads to it, and overrides the other conditions.
	for _, found := range everything(t, log, audit.Query{ResourceID: "key-5", Limit: 100}) {
		got := everything(t, log, audit.Query{TraceID: found.TraceID, ResourceID: "nobody's", Limit: 2})
		if len(got) != 1 || got[0].Sequence != found.Sequence {
			t.Errorf("%s leads to %v", found.TraceID, got)
		}
	}
	// The same after a start, and with every index gone.
	shut(t, log)
	indexes, err := filepath.Glob(filepath.Join(dir, "*.index"))
	if err != nil || len(indexes) == 0 {
		t.Fatal(err)
	}
	for i, name := range indexes {
		if i%2 == 0 {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		} else {
			overwrite(t, name, "no index")
		}
	}
	log, _ = open(t, packing(dir))
	f(audit.Query{ResourceID: "key-3"}, func(_ int, r *audit.Record) bool { return r.ResourceID == "key-3" })
	for deadline := time.Now().Add(10 * time.Second); verify(t, dir).FaultCount > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the indexes are not made again: %v", verify(t, dir).Faults)
		}
	}
}

// A page is bounded in bytes, too, and a search that must end says where to go on.
func TestSearchIsBounded(t *testing.T) {
	log, _ := filled(t, 100)
	a, err := log.Search(t.Context(), audit.Query{Limit: 100, MaxBytes: 2000})
	if err != nil || len(a.Found) == 0 || len(a.Found) > 3 || a.Next != a.Found[len(a.Found)-1].Sequence {
		t.Errorf("%d found, next %d, %v", len(a.Found), a.Next, err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // it may also be refused at the door
		if a, err := log.Search(over, audit.Query{Limit: 10}); err == nil && (len(a.Found) > 0 || a.Next == 0) {
			t.Errorf("%+v", a)
		}
	}
}

// Where a search goes through what was altered or is gone, it says so.
func TestSearchNamesDamage(t *testing.T) {
	f := func(name string, damage func(t *testing.T, zst []string)) {
		t.Run(name, func(t *testing.T) {
			log, dir := filled(t, 100)
			zst := packed(t, dir)
			damage(t, zst)
			a, err := log.Search(t.Context(), audit.Query{RequestID: "request-35", Limit: 10})
			if err != nil || len(a.Damaged) == 0 || !strings.HasPrefix(a.Damaged[0], "traces-0000") {
				t.Errorf("%v, damaged %v", err, a.Damaged)
			}
			// What is elsewhere is found.
			if a, err := log.Search(t.Context(), audit.Query{RequestID: "request-1", Limit: 10}); err != nil || len(a.Found) != 1 {
				t.Errorf("%v, %d found", err, len(a.Found))
			}
		})
	}
	holding := func(t *testing.T, zst []string) string {
		t.Helper()
		i := slices.IndexFunc(zst, func(name string) bool { return strings.Contains(unpacked(t, name), `"request-35"`) })
		if i < 0 {
			t.Fatal("no segment holds it")
		}
		return zst[i]
	}
	f("one bit", func(t *testing.T, zst []string) {
		name := holding(t, zst)
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw[rand.IntN(len(raw)-20)+10] ^= 4
		overwrite(t, name, string(raw))
	})
	f("an end", func(t *testing.T, zst []string) {
		name := holding(t, zst)
		if err := os.Truncate(name, 300); err != nil {
			t.Fatal(err)
		}
	})
}

// Every bit of a packed segment, and of its index, counts.
func TestVerifyFindsEveryByteOfAPackedSegment(t *testing.T) {
	log, dir := filled(t, 40)
	shut(t, log)
	sound(t, dir)
	zst := packed(t, dir)[1]
	text := unpacked(t, zst)
	for _, path := range []string{zst, strings.TrimSuffix(zst, ".jsonl.zst") + ".index"} {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			raw[i] ^= 1 << (i % 8)
			overwrite(t, path, string(raw))
			raw[i] ^= 1 << (i % 8)
			r := verify(t, dir)
			if r.Err() == nil && path == zst && unpacked(t, zst) == text {
				continue // a bit that zstd does not use
			}
			if r.Err() == nil || r.Faults[0].File != filepath.Base(path) {
				t.Fatalf("%s byte %d: %v", filepath.Base(path), i, r.Err())
			}
		}
		overwrite(t, path, string(raw))
	}
	sound(t, dir)
	// A segment that is gone, and one in the place of another.
	all := packed(t, dir)
	other := copied(t, dir)
	if err := os.Remove(filepath.Join(other, filepath.Base(all[2]))); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, other); r.Err() == nil {
		t.Error("a segment that is gone is not missed")
	}
	log, _ = open(t, packing(other))
	if len(log.Faults()) == 0 {
		t.Error("a segment that is gone is not missed at the start")
	}
}

// A clock that goes back makes no record unfindable.
func TestSearchWithAClockThatGoesBack(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, packing(dir))
	for i := range 100 {
		r := varied(i)
		if i >= 50 {
			r.Time, r.RecordTime = r.Time.Add(-time.Hour), r.RecordTime.Add(-time.Hour)
		}
		if err := log.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	packed(t, dir)
	late := everything(t, log, audit.Query{After: varied(0).Time.UnixMilli() - 1, Limit: 10})
	early := everything(t, log, audit.Query{Before: varied(0).Time.UnixMilli(), Limit: 10})
	if len(late) != 50 || len(early) != 50 || ids(t, early)[0] != "request-99" || ids(t, late)[0] != "request-49" {
		t.Errorf("%d and %d found", len(late), len(early))
	}
}

func unpacked(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := audit.Unpack(raw)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A segment that is not there is named, as are traces that are missing between
// two that are: an answer without them is never given without a word.
func TestASearchNamesWhatIsMissing(t *testing.T) {
	f := func(cfg func(dir string) audit.Config, which int, reopen bool) {
		t.Helper()
		dir := t.TempDir()
		log, _ := open(t, cfg(dir))
		appended(t, log, "x", 60)
		if !cfg(dir).Plain {
			packed(t, dir)
		}
		if reopen {
			shut(t, log)
		}
		names, err := filepath.Glob(filepath.Join(dir, "traces-*"))
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ".index") })
		if err := os.Remove(names[which]); err != nil {
			t.Fatal(err)
		}
		if reopen {
			log, _ = open(t, cfg(dir))
		}
		a, err := log.Search(t.Context(), audit.Query{Limit: 1000})
		if err != nil || len(a.Damaged) != 1 || !strings.Contains(a.Damaged[0], "missing: the traces from sequence ") || len(a.Found) < 30 || len(a.Found) >= 60 {
			t.Errorf("%d found, damaged %q, %v", len(a.Found), a.Damaged, err)
		}
		// What lies behind it says nothing of it.
		a, err = log.Search(t.Context(), audit.Query{Limit: 1000, Above: a.Found[0].Sequence - 2})
		if err != nil || len(a.Damaged) != 0 {
			t.Errorf("damaged %q, %v", a.Damaged, err)
		}
	}
	for _, which := range []int{0, 2} {
		f(small, which, false)
		f(packing, which, false)
	}
	for _, which := range []int{0, 2} {
		f(small, which, true)
		f(packing, which, true)
	}
}

// What a search reads does not grow with the log: no more than the blocks that
// hold what it returns, and the newest segment, which is not packed.
func TestASearchReadsLittle(t *testing.T) {
	cfg := packing(t.TempDir())
	cfg.SegmentSize, cfg.Sync = 4<<20, audit.SyncInterval
	m := fill(t, cfg, 20_000)
	const block, tail = 64 << 10, 4<<20 + 64<<10
	f := func(q audit.Query, found, blocks int) {
		t.Helper()
		a, err := m.log.Search(t.Context(), q)
		if err != nil || len(a.Found) != found || len(a.Damaged) > 0 {
			t.Errorf("%d found, %v, damaged %v", len(a.Found), err, a.Damaged)
		}
		if most := int64(blocks*block + tail); a.Read > most {
			t.Errorf("%d bytes were read, want %d at most", a.Read, most)
		}
	}
	f(audit.Query{ResourceID: m.rare, Limit: 200}, 20, 20)
	f(audit.Query{ResourceID: m.keys[0], Limit: 5}, 5, 6)
	f(audit.Query{ResourceID: "none", Limit: 5}, 0, 0)
	f(audit.Query{UserName: "none", ResourceID: m.keys[0], Limit: 5}, 0, 0)
	f(audit.Query{RequestID: "none", Limit: 5}, 0, 6) // a filter is wrong now and then
	if per := float64(m.size) / float64(m.packed); per > 120 {
		t.Errorf("%.1f bytes a record, above 120", per)
	}
}

// A segment of which nothing is left, or only its header, is missed, packed or not.
func TestASearchMissesWhatIsEmpty(t *testing.T) {
	f := func(cfg func(dir string) audit.Config, left func(content string) string) {
		t.Helper()
		dir := t.TempDir()
		log, _ := open(t, cfg(dir))
		for i := range 60 {
			if err := log.Append(t.Context(), varied(i)); err != nil {
				t.Fatal(err)
			}
		}
		suffix := "traces-*.jsonl"
		if !cfg(dir).Plain {
			packed(t, dir)
			suffix += ".zst"
		}
		names, err := filepath.Glob(filepath.Join(dir, suffix))
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, names[2], left(content(t, names[2])))
		a, err := log.Search(t.Context(), audit.Query{Limit: 1000})
		if err != nil || len(a.Damaged) != 1 || !strings.Contains(a.Damaged[0], "missing: the traces from sequence ") || len(a.Found) < 30 || len(a.Found) >= 60 {
			t.Errorf("%d found, damaged %q, %v", len(a.Found), a.Damaged, err)
		}
	}
	nothing := func(string) string { return "" }
	f(small, nothing)
	f(packing, nothing)
	f(small, func(content string) string { return strings.Repeat("\n", len(content)) })
	f(small, func(content string) string { header, _, _ := strings.Cut(content, "\n"); return header + "\n" })
}
