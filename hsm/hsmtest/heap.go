package hsmtest

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// Mask hides bytes that [InHeap] is to look for, or shows them again: what is
// searched for must not be found in the slice that says so.
func Mask(b []byte) {
	for i := range b {
		b[i] ^= 0x5a
	}
}

// InHeap dumps the heap and looks for bytes that are masked, in dead objects, too.
func InHeap(t testing.TB, masked []byte) bool {
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
	Mask(masked)
	defer Mask(masked)
	return bytes.Contains(dump, masked)
}
