package locked_test

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

// After NewKey no object on the Go heap, dead ones included, holds the key or
// a round key of it.
func TestNothingOfAKeyStaysOnTheHeap(t *testing.T) {
	a := newArena(t, 1<<20)
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	k, err := a.NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	// The first 16 bytes behind the number of rounds are half of the key itself,
	// those in the middle a round key. What is searched for must not be found
	// in the slice that says so, hence the mask.
	for _, at := range []int{8, 8 + 7*16} {
		masked := bytes.Clone(k.Schedule()[at : at+16])
		mask(masked)
		if inHeap(t, masked) {
			t.Errorf("byte %d of the schedule is on the heap", at)
		}
	}

	// That the search finds what is there:
	planted := bytes.Clone(k.Schedule()[8:24])
	masked := bytes.Clone(planted)
	mask(masked)
	if !inHeap(t, masked) {
		t.Error("the search does not find what is on the heap")
	}
	runtime.KeepAlive(planted)
}

func mask(b []byte) {
	for i := range b {
		b[i] ^= 0x5a
	}
}

// inHeap dumps the heap and looks for the bytes.
func inHeap(t *testing.T, masked []byte) bool {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	debug.WriteHeapDump(f.Fd())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	mask(masked)
	defer mask(masked)
	return bytes.Contains(dump, masked)
}
