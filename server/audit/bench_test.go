package audit_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// BenchmarkAppend has callers append one record after the other. It prints,
// besides: the median of the disk's fdatasync as the log has seen it, records
// for each of them, and the CPU time of the whole process for a record, the
// system's part apart (that is the disk's).
func BenchmarkAppend(b *testing.B) {
	for _, how := range []audit.Sync{audit.SyncAlways, audit.SyncInterval} {
		for _, callers := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/%d", how, callers), func(b *testing.B) { appendBy(b, how, callers, true) })
		}
	}
	// And with the packing of closed segments, which happens meanwhile.
	b.Run("always/64/packed", func(b *testing.B) { appendBy(b, audit.SyncAlways, 64, false) })
}

func appendBy(b *testing.B, how audit.Sync, callers int, plain bool) {
	timed := &timing{}
	cfg := audit.Config{Dir: b.TempDir(), NodeID: "n1", Sync: how, Plain: plain}
	log, _ := open(b, cfg.OnDisk(timed.open))
	timed.took = nil
	var left atomic.Int64
	left.Store(int64(b.N))
	user, system := used(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := log.Append(context.Background(), &record); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	userNow, systemNow := used(b)
	b.ReportMetric(float64(userNow-user)/float64(b.N), "user-ns/op")
	b.ReportMetric(float64(systemNow-system)/float64(b.N), "system-ns/op")
	if p50, syncs := timed.median(); syncs > 0 {
		b.ReportMetric(float64(p50.Microseconds()), "fsync-p50-µs")
		b.ReportMetric(float64(b.N)/float64(syncs), "records/fsync")
	}
}

// used is the CPU time of the process in ns.
func used(b *testing.B) (user, system int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano(), u.Stime.Nano()
}

// timing takes the time of every sync.
type timing struct {
	mu   sync.Mutex
	took []time.Duration
}

type timedFile struct {
	audit.File
	timing *timing
}

func (t *timing) open(path string, flag int) (audit.File, error) {
	f, err := audit.OpenOSFile(path, flag)
	if err != nil {
		return nil, err
	}
	return &timedFile{File: f, timing: t}, nil
}

func (f *timedFile) Datasync() error {
	started := time.Now()
	err := f.File.Datasync()
	f.timing.mu.Lock()
	defer f.timing.mu.Unlock()
	f.timing.took = append(f.timing.took, time.Since(started))
	return err
}

func (t *timing) median() (p50 time.Duration, syncs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.took) == 0 {
		return 0, 0
	}
	slices.Sort(t.took)
	return t.took[len(t.took)/2], len(t.took)
}

// BenchmarkVerify reads a log of 20,000 records.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	log, _ := open(b, audit.Config{Dir: dir, NodeID: "n1", Sync: audit.SyncInterval})
	appended(b, log, "x", 20000)
	shut(b, log)
	b.ReportAllocs()
	for b.Loop() {
		sound(b, dir)
	}
}

// BenchmarkSearchUnpacked is a search by key that finds nothing and so reads the
// newest segment, which is full and has no index, as a whole. While a node is
// busy four more like it may wait to be packed.
func BenchmarkSearchUnpacked(b *testing.B) {
	log, _ := open(b, audit.Config{Dir: b.TempDir(), NodeID: "n1", Sync: audit.SyncInterval, Plain: true})
	var callers sync.WaitGroup
	var size atomic.Int64
	for range 64 {
		callers.Go(func() {
			for size.Add(700) < 63<<20 { // a line has a little less
				if err := log.Append(context.Background(), &record); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	read := int64(0)
	for b.Loop() {
		a, err := log.Search(b.Context(), audit.Query{ResourceID: "nobody's", Limit: 10})
		if err != nil || len(a.Found) > 0 || len(a.Damaged) > 0 {
			b.Fatalf("%+v, %v", a, err)
		}
		read = a.Read
	}
	b.ReportMetric(float64(read)/(1<<20), "MiB-read")
}
