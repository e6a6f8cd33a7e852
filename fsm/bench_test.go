package fsm_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// filled returns a machine whose project holds n keys and may hold more.
func filled(tb testing.TB, n int) *fsmtest.Machine {
	tb.Helper()
	m := fsmtest.Bootstrapped(tb)
	x := m.State().Txn()
	project, _ := x.Project(fsmtest.ProjectID)
	roomy := *project
	roomy.KeyQuota = 1 << 30
	x.PutProject(&roomy)
	for i := range n {
		name := fmt.Sprintf("filler-%d", i)
		body := fsmtest.CreateKey(name)
		x.PutKey(&state.Key{
			ID: body.KeyID, ProjectID: body.ProjectID, DomainID: fsmtest.DomainID, Name: name, Spec: body.Spec,
			Usage: body.Usage, Origin: body.Origin, Level: body.Level, State: state.Enabled, PrimaryVersion: 1,
			Versions: 1, CreatorID: fsmtest.UserID, Created: fsmtest.Start, Sequence: uint64(i) + 1,
		})
		x.PutVersion(&state.Version{
			KeyID: body.KeyID, Number: 1, RootGeneration: 1, Blob: body.Blob[:40], MAC: body.MAC, Created: fsmtest.Start,
		})
	}
	replace(tb, m.Machine, x.Commit())
	return m
}

// replace puts a state that no command makes into a machine.
func replace(tb testing.TB, m *fsm.Machine, root *state.Root) {
	tb.Helper()
	var file bytes.Buffer
	if _, err := snapshot.Write(&file, root); err != nil {
		tb.Fatal(err)
	}
	if err := m.Restore(&file); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkCreateKey(b *testing.B) {
	for _, keys := range []int{0, 100_000} {
		for _, batch := range []int{1, 64} {
			b.Run(fmt.Sprintf("keys=%d/batch=%d", keys, batch), func(b *testing.B) {
				m := filled(b, keys)
				entries := make([]fsm.Entry, b.N)
				for i := range entries {
					entries[i] = m.Entry(m.Command(fsmtest.CreateKey(fmt.Sprintf("new-%d", i))))
				}
				b.ReportAllocs()
				b.ResetTimer()
				for len(entries) > 0 {
					n := min(batch, len(entries))
					if _, err := m.Machine.Apply(entries[:n]); err != nil {
						b.Fatal(err)
					}
					entries = entries[n:]
				}
			})
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	m := fsmtest.Bootstrapped(b)
	m.Must(fsmtest.CreateKey("a"))
	root, caller := m.State(), fsmtest.Caller()
	key, _ := root.Key(fsmtest.KeyID("a"))
	request := fsm.Request{Action: policy.ActionCreateDEK, ProjectID: fsmtest.ProjectID, Key: key}
	b.ReportAllocs()
	for b.Loop() {
		if refusal := fsm.Authorize(root, caller, request); refusal != nil {
			b.Fatal(refusal)
		}
	}
}

func BenchmarkListPage(b *testing.B) {
	root := filled(b, 100_000).State()
	b.ReportAllocs()
	for b.Loop() {
		if page := root.Keys(fsmtest.ProjectID, 50_000, 100, nil); len(page) != 100 {
			b.Fatal("short page")
		}
	}
}

// BenchmarkSnapshot writes states and reads them; heap-MB is what one takes in
// memory once it is read.
func BenchmarkSnapshot(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		root := filled(b, keys).State()
		var file bytes.Buffer
		if _, err := snapshot.Write(&file, root); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("write/keys=%d", keys), func(b *testing.B) {
			for b.Loop() {
				file.Reset()
				if _, err := snapshot.Write(&file, root); err != nil {
					b.Fatal(err)
				}
			}
		})
		root = nil
		b.Run(fmt.Sprintf("read/keys=%d", keys), func(b *testing.B) {
			b.ReportAllocs()
			before := heap()
			var read *state.Root
			for b.Loop() {
				read = nil
				var err error
				if read, err = snapshot.Read(bytes.NewReader(file.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
			runtime.KeepAlive(read)
		})
	}
}

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkFindTagged is a page of ten of the keys with a tag that one in ten has.
func BenchmarkFindTagged(b *testing.B) {
	for _, keys := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			m := filled(b, keys)
			x := m.State().Txn()
			for i := 0; i < keys; i += 10 {
				old, _ := x.Key(fsmtest.KeyID(fmt.Sprintf("filler-%d", i)))
				tagged := *old
				tagged.Tags = []state.Tag{{Key: "stage", Value: "test"}}
				x.PutKey(&tagged)
			}
			root := x.Commit()
			terms := []state.TagTerm{{Key: "stage", Values: []string{"test"}}}
			runtime.GC() // else collecting what the setting up left is measured
			b.ReportAllocs()
			for b.Loop() {
				if page, total := root.KeysTagged(fsmtest.ProjectID, terms, "", 20, 10); len(page) != 10 || total != keys/10 {
					b.Fatal(len(page), total)
				}
			}
		})
	}
}
