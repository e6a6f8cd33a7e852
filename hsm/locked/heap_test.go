package locked_test

import (
	"bytes"
	"crypto/rand"
	"runtime"
	"testing"

	"github.com/raftkms/raftkms/hsm/hsmtest"
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
	// those in the middle a round key.
	for _, at := range []int{8, 8 + 7*16} {
		masked := bytes.Clone(k.Schedule()[at : at+16])
		hsmtest.Mask(masked)
		if hsmtest.InHeap(t, masked) {
			t.Errorf("byte %d of the schedule is on the heap", at)
		}
	}

	// That the search finds what is there:
	planted := bytes.Clone(k.Schedule()[8:24])
	masked := bytes.Clone(planted)
	hsmtest.Mask(masked)
	if !hsmtest.InHeap(t, masked) {
		t.Error("the search does not find what is on the heap")
	}
	runtime.KeepAlive(planted)
}
