package audit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/server/audit"
)

// million is a log as a busy node leaves it: n records of 1,000 keys, and 20 of
// a rare one among them, a working day's mix of operations.
type million struct {
	log    *audit.Log
	dir    string
	keys   []string
	rare   string
	size   int64 // bytes of what is packed, and of its indexes
	packed uint64
}

// fill makes the log, and returns when all but the newest segment is packed.
func fill(t testing.TB, cfg audit.Config, n int) *million {
	t.Helper()
	m := &million{dir: cfg.Dir, rare: uuid.NewString()}
	m.log, _ = open(t, cfg)
	for range 1000 {
		m.keys = append(m.keys, uuid.NewString())
	}
	random := rand.New(rand.NewPCG(1, 2))
	at := time.UnixMilli(1700000000000)
	names := []string{"createDataKey", "createDataKey", "createDataKey", "decryptDatakey"}
	for i := range n {
		at = at.Add(time.Duration(random.IntN(60)) * time.Microsecond)
		key := m.keys[random.IntN(len(m.keys))]
		if i%(n/20) == n/40 {
			key = m.rare
		}
		r := record
		r.TraceName = names[random.IntN(len(names))]
		r.ResourceID, r.ResourceName, r.RequestID = key, "key-"+key[:4], uuid.NewString()
		r.SourceIP = fmt.Sprintf("192.0.2.%d", random.IntN(20))
		r.Time, r.RecordTime, r.Duration = at, at.Add(time.Millisecond), time.Duration(200+random.IntN(2000))*time.Microsecond
		r.Request = details("key_id", key, "bits", 256)
		if err := m.log.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	for ; ; time.Sleep(20 * time.Millisecond) {
		if plain, _ := filepath.Glob(filepath.Join(m.dir, "traces-*.jsonl")); len(plain) == 1 {
			if _, err := fmt.Sscanf(filepath.Base(plain[0]), "traces-%d.jsonl", &m.packed); err != nil {
				t.Fatal(err)
			}
			m.packed--
			break
		}
	}
	for _, path := range m.files(t) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(path, ".jsonl") {
			m.size += info.Size()
		}
	}
	return m
}

func (m *million) files(t testing.TB) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(m.dir, "traces-*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// forget has the system drop what it remembers of the log's files.
func (m *million) forget(t testing.TB) {
	t.Helper()
	for _, path := range m.files(t) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkSearch makes a log of ten million records (some 8 GB of text, 1 GB
// packed) and searches it by key, each time with nothing of it in the system's
// memory. It prints the time of each search and of its CPU, the text that was
// looked through, what was allocated, and what a record takes on disk, packed
// and indexed.
func BenchmarkSearch(b *testing.B) {
	const n = 10_000_000
	began := time.Now()
	user, system := used(b)
	m := fill(b, audit.Config{Dir: b.TempDir(), NodeID: "n1", Sync: audit.SyncInterval}, n)
	userNow, systemNow := used(b)
	onDisk := float64(m.size) / float64(m.packed)
	b.Logf("%d records in %v, %.2f µs of CPU each with making and packing them",
		n, time.Since(began).Round(time.Second), float64(userNow+systemNow-user-system)/1e3/n)
	for _, s := range []struct {
		name string
		q    audit.Query
		want int
	}{
		{"rare-key", audit.Query{ResourceID: m.rare, Limit: 200}, 20},
		{"no-such-key", audit.Query{ResourceID: uuid.NewString(), Limit: 200}, 0},
		{"common-key", audit.Query{ResourceID: m.keys[0], Limit: 200}, 200},
		{"common-key-and-operation", audit.Query{ResourceID: m.keys[1], TraceName: "decryptDatakey", Limit: 200}, 200},
		{"no-such-request", audit.Query{RequestID: uuid.NewString(), Limit: 1}, 0},
	} {
		b.Run(s.name, func(b *testing.B) {
			var took []time.Duration
			var read int64
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var cpu int64
			for range b.N {
				b.StopTimer()
				m.forget(b)
				user, system := used(b)
				b.StartTimer()
				began := time.Now()
				a, err := m.log.Search(b.Context(), s.q)
				took = append(took, time.Since(began))
				if err != nil || len(a.Found) != s.want || len(a.Damaged) > 0 {
					b.Fatalf("%d found, %v, damaged %v", len(a.Found), err, a.Damaged)
				}
				userNow, systemNow := used(b)
				cpu += userNow + systemNow - user - system
				read = a.Read
			}
			runtime.ReadMemStats(&after)
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
			b.ReportMetric(float64(cpu)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(read)/(1<<20), "MiB-read/op")
			b.ReportMetric(onDisk, "disk-B/record") // here, since what such a benchmark logs is not shown
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/(1<<20)/float64(b.N), "MiB-allocated/op")
		})
	}
}
