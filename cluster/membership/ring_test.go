package membership

import (
	"bytes"
	"slices"
	"testing"

	"github.com/hashicorp/memberlist"
	"pgregory.net/rapid"
)

// Whatever keys a ring had, afterwards it has those that it was given, the
// primary first, and at no time more than two; a reader that holds the keys
// from before sees them unchanged.
func TestSetKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := func(name string) []byte {
			return bytes.Repeat([]byte{rapid.ByteRange(1, 4).Draw(t, name)}, KeySize)
		}
		ring, err := memberlist.NewKeyring(nil, key("first"))
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 8).Draw(t, "changes") {
			want := [][]byte{key("primary")}
			var other []byte
			if rapid.Bool().Draw(t, "rotating") {
				if other = key("other"); !bytes.Equal(other, want[0]) {
					want = append(want, other)
				}
			}
			before := ring.GetKeys()
			kept := slices.Clone(before)
			if err := setKeys(ring, want[0], other); err != nil {
				t.Fatal(err)
			}
			if got := ring.GetKeys(); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Fatalf("the ring has %x, want %x", got, want)
			}
			if !slices.EqualFunc(before, kept, bytes.Equal) {
				t.Fatalf("what a reader held has become %x, it was %x", before, kept)
			}
		}
	})
}
