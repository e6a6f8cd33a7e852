package server

import (
	"testing"

	"github.com/google/uuid"
)

func TestRequestIDs(t *testing.T) {
	ids := newRequestIDs()
	seen := make(map[string]bool)
	for range 10_000 {
		text := ids.next()
		id, err := uuid.Parse(text)
		if err != nil || id.String() != text || id.Version() != 4 || id.Variant() != uuid.RFC4122 {
			t.Fatalf("%q is no UUID of version 4: %v", text, err)
		}
		if seen[text] {
			t.Fatalf("%s came twice", text)
		}
		seen[text] = true
	}
	if n := testing.AllocsPerRun(1000, func() { ids.next() }); n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}
