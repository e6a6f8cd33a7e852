package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// Eight characters are plain when each of them is.
func TestAllPlain(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	f := func(text [8]byte) {
		t.Helper()
		want := true
		for _, c := range text {
			want = want && isPlain(c)
		}
		if got := allPlain(binary.LittleEndian.Uint64(text[:])); got != want {
			t.Fatalf("%q: %v", text, got)
		}
	}
	for c := range 256 {
		for at := range 8 {
			text := [8]byte{'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'}
			text[at] = byte(c)
			f(text)
			for range 64 { // beside others
				for i := range text {
					if i != at {
						text[i] = byte(random.IntN(256))
					}
				}
				f(text)
				for i := range text {
					if i != at {
						text[i] = byte(0x1e + random.IntN(0x64))
					}
				}
				f(text)
			}
		}
	}
}
