package kwp_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm/kwp"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newCipher(t interface{ Fatal(...any) }, key []byte) cipher.Block {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

// The two examples of RFC 5649 §6.
func TestRFC5649(t *testing.T) {
	block := newCipher(t, unhex(t, "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"))
	for _, v := range []struct{ plain, blob string }{
		{"c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"},
		{"466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"},
	} {
		blob, err := kwp.Wrap(block, unhex(t, v.plain))
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(blob) != v.blob {
			t.Errorf("%s wraps to %x", v.plain, blob)
		}
		plain, err := kwp.Unwrap(block, blob)
		if err != nil || hex.EncodeToString(plain) != v.plain {
			t.Errorf("%s opens to %x, %v", v.blob, plain, err)
		}
	}
}

func TestRoundTripAndBitFlips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := newCipher(t, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		plain := rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "plain")
		blob, err := kwp.Wrap(block, plain)
		if err != nil || len(blob) != kwp.WrappedSize(len(plain)) {
			t.Fatalf("%d bytes wrap to %d, %v", len(plain), len(blob), err)
		}
		again, err := kwp.Unwrap(block, blob)
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("opens to %x, %v", again, err)
		}
		bit := rapid.IntRange(0, 8*len(blob)-1).Draw(t, "bit")
		blob[bit/8] ^= 1 << (bit % 8)
		if _, err := kwp.Unwrap(block, blob); !errors.Is(err, kwp.ErrUnwrap) {
			t.Fatalf("a flipped bit: %v", err)
		}
	})
}

// Blobs that are right in all but one thing, which only who holds the key could
// make. The wrapping is written again here, with its initial value free.
func TestUnwrapRefusals(t *testing.T) {
	block := newCipher(t, bytes.Repeat([]byte{7}, 32))
	plain := bytes.Repeat([]byte{0xff}, 24)
	padded := func(zeros int) []byte { return append(bytes.Repeat([]byte{0xff}, 24-zeros), make([]byte, zeros)...) }
	for _, c := range []struct {
		name   string
		icv    uint32
		length uint32
		plain  []byte
		good   bool
	}{
		{"whole semiblocks", 0xa65959a6, 24, plain, true},
		{"seven bytes of padding", 0xa65959a6, 17, padded(7), true},
		{"one byte of padding", 0xa65959a6, 23, padded(1), true},
		{"one semiblock", 0xa65959a6, 8, plain[:8], true},
		{"one byte", 0xa65959a6, 1, append([]byte{1}, make([]byte, 7)...), true},
		{"RFC 3394's initial value", 0xa6a6a6a6, 0xa6a6a6a6, plain, false},
		{"first byte of the ICV", 0xa75959a6, 24, plain, false},
		{"last byte of the ICV", 0xa65959a7, 24, plain, false},
		{"length one too long", 0xa65959a6, 25, plain, false},
		{"length eight too long", 0xa65959a6, 32, plain, false},
		{"length eight too short", 0xa65959a6, 16, padded(8), false},
		{"length zero", 0xa65959a6, 0, make([]byte, 8), false},
		{"length with the top bit", 0xa65959a6, 0x80000018, plain, false},
		{"length of all ones", 0xa65959a6, 0xffffffff, plain, false},
		{"stray first byte of padding", 0xa65959a6, 17, append(bytes.Repeat([]byte{0xff}, 18), make([]byte, 6)...), false},
		{"stray last byte of padding", 0xa65959a6, 17, append(padded(7)[:23], 1), false},
		{"stray byte, one semiblock", 0xa65959a6, 7, plain[:8], false},
	} {
		aiv := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, c.icv), c.length)
		got, err := kwp.Unwrap(block, wrapRaw(block, aiv, c.plain))
		if c.good != (err == nil) || err != nil && !errors.Is(err, kwp.ErrUnwrap) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.good && !bytes.Equal(got, c.plain[:c.length]) {
			t.Errorf("%s: opens to %x", c.name, got)
		}
	}
	for _, n := range []int{0, 1, 8, 15, 17, 23, kwp.WrappedSize(kwp.MaxPlaintext) + 8} {
		if _, err := kwp.Unwrap(block, make([]byte, n)); !errors.Is(err, kwp.ErrUnwrap) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, kwp.MaxPlaintext + 1} {
		if _, err := kwp.Wrap(block, make([]byte, n)); err == nil {
			t.Errorf("%d bytes were wrapped", n)
		}
	}
	blob, err := kwp.Wrap(block, make([]byte, kwp.MaxPlaintext))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := kwp.Unwrap(block, blob); err != nil || len(got) != kwp.MaxPlaintext {
		t.Errorf("the largest: %d bytes, %v", len(got), err)
	}
}

// wrapRaw is the W function of SP 800-38F, by the index formulation of RFC 3394 §2.2.1.
func wrapRaw(block cipher.Block, aiv, plain []byte) []byte {
	if len(plain) == 8 {
		out := append(bytes.Clone(aiv), plain...)
		block.Encrypt(out, out)
		return out
	}
	n := len(plain) / 8
	a, r := bytes.Clone(aiv), bytes.Clone(plain)
	for j := range 6 {
		for i := range n {
			b := append(bytes.Clone(a), r[8*i:8*i+8]...)
			block.Encrypt(b, b)
			copy(a, b[:8])
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(a)^uint64(n*j+i+1))
			copy(r[8*i:], b[8:])
		}
	}
	return append(a, r...)
}
