package pkcs11_test

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// footprint is what a process and a device hold at one moment.
type footprint struct {
	goroutines, threads        int
	heap, resident, locked     int64 // bytes: Go's after a collection, of the process, not to be paged out
	objects, sessions          uint64
	loaded, outages, callsDone int64
}

func (f footprint) String() string {
	return fmt.Sprintf("%d goroutines, %d threads, heap %.1f MiB, resident %.1f MiB, locked %.2f MiB; in the device %d objects, %d sessions, %d loaded keys; %d outages, %d calls",
		f.goroutines, f.threads, mebibytes(f.heap), mebibytes(f.resident), mebibytes(f.locked), f.objects, f.sessions, f.loaded, f.outages, f.callsDone)
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func footprintOf(t *testing.T, m *pkcs11.Module, d *faultylib.Device, calls int64) footprint {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	ok(t, err)
	value := func(name string) int64 {
		for line := range strings.Lines(string(status)) {
			if rest, is := strings.CutPrefix(line, name+":"); is {
				n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				ok(t, err)
				return n
			}
		}
		t.Fatalf("/proc/self/status has no %s", name)
		return 0
	}
	h := m.Health()
	return footprint{
		goroutines: runtime.NumGoroutine(), threads: int(value("Threads")),
		heap: liveHeap(), resident: value("VmRSS") << 10, locked: value("VmLck") << 10,
		objects: d.Objects(), sessions: d.Sessions(), loaded: int64(h.Loaded), outages: int64(h.Outages), callsDone: calls,
	}
}

// liveHeap is what a collection found in use, in bytes: the least of some, since
// what is allocated while one goes on counts as in use, and under load on a busy
// machine that is megabytes.
func liveHeap() int64 {
	least := int64(math.MaxInt64)
	for range 3 {
		runtime.GC()
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		least = min(least, int64(sample[0].Value.Uint64()))
	}
	return least
}

// growth holds footprints against the first one, taken when everything that is
// made once has been made. What may be above it is what a moment under load
// takes more than another.
type growth struct {
	first footprint
	shown time.Time
}

func (g *growth) check(t *testing.T, f footprint) {
	t.Helper()
	if g.shown.IsZero() {
		g.first = f
	}
	if time.Since(g.shown) > 20*time.Second {
		t.Log(f)
		g.shown = time.Now()
	}
	for _, what := range []struct {
		name             string
		now, first, more int64
	}{
		{"goroutines", int64(f.goroutines), int64(g.first.goroutines), 8},
		{"threads", int64(f.threads), int64(g.first.threads), 32}, // one for each call that ever hung at once
		{"bytes of Go's heap", f.heap, g.first.heap, 8 << 20},
		{"bytes of resident memory", f.resident, g.first.resident, 64 << 20},
		{"bytes of locked memory", f.locked, g.first.locked, 0},
		{"loaded keys", f.loaded, g.first.loaded, 8},
	} {
		if what.now > what.first+what.more {
			t.Errorf("%d %s, of %d at first", what.now, what.name, what.first)
		}
	}
	if f.objects > 64 || f.sessions > 16 {
		t.Errorf("%d objects and %d sessions in the device", f.objects, f.sessions)
	}
}

// What is made in the device for a moment (pairs, what is unwrapped to be used,
// agreed secrets) is destroyed in the same call, also when the call then fails: a
// leak would fill a device of few slots, and a test under load loses it with the
// next session.
func TestNothingStaysInTheDevice(t *testing.T) {
	m, d := dying(t, nil)
	ctx := testContext(t)
	w := work(t, m)
	ec, pair := w.generated(ctx, hsm.SpecECP256), w.generated(ctx, hsm.SpecRSA2048)
	agreer := loadedFor[hsm.Agreer](ctx, w, ec, hsm.UseAgree)
	_, err := agreer.Agree(ctx, ec.PublicKey)
	ok(t, err)
	before := d.Objects()
	leaves := func(what string, f func() error, fails bool) {
		t.Helper()
		if err := f(); (err != nil) != fails {
			t.Errorf("%s: error %v", what, err)
		}
		if n := d.Objects(); n != before {
			t.Errorf("%s: %d objects in the device, %d before", what, n, before)
		}
	}
	generate := func(level hsm.Level, spec hsm.Spec) func() error {
		return func() error {
			_, err := m.Generate(ctx, level, spec)
			return err
		}
	}
	agree := func() error {
		_, err := agreer.Agree(ctx, ec.PublicKey)
		return err
	}
	load := func() error {
		pair.Use = hsm.UseEncrypt
		k, err := m.Load(ctx, pair)
		if err != nil {
			return err
		}
		return k.Close()
	}
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		for _, spec := range []hsm.Spec{hsm.SpecAES256, hsm.SpecHMAC256, hsm.SpecECP256, hsm.SpecRSA2048} {
			leaves("making "+string(spec)+", level "+level.String(), generate(level, spec), false)
		}
	}
	leaves("agreeing", agree, false)
	leaves("loading and closing", load, false)
	// Refusals of what was asked: a device in trouble loses the session and all in it.
	d.Fail(faultylib.WrapKey, p11.CKR_KEY_UNEXTRACTABLE, 1)
	leaves("making a pair that is not wrapped", generate(hsm.LevelHSM, hsm.SpecECP256), true)
	d.Fail(faultylib.WrapKey, p11.CKR_KEY_UNEXTRACTABLE, 1)
	leaves("making a key that is not wrapped", generate(hsm.LevelHSM, hsm.SpecAES256), true)
	d.Fail(faultylib.GetAttributeValue, p11.CKR_ATTRIBUTE_SENSITIVE, 1)
	leaves("making a pair that is not read", generate(hsm.LevelHSM, hsm.SpecECP256), true)
	d.Fail(faultylib.GetAttributeValue, p11.CKR_ATTRIBUTE_SENSITIVE, 1)
	leaves("agreeing on a secret that is not read", agree, true)
}
