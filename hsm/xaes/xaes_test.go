package xaes_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// inProcess is an AES key of this process.
type inProcess struct{ cipher.Block }

func (k inProcess) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	for at := 0; at < len(src); at += xaes.BlockSize {
		k.Encrypt(dst[at:at+xaes.BlockSize], src[at:at+xaes.BlockSize])
	}
	return ctx.Err()
}

func newKey(t interface{ Fatal(...any) }, raw []byte) (inProcess, *xaes.Subkey) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		t.Fatal(err)
	}
	k := inProcess{block}
	k1, err := xaes.NewSubkey(context.Background(), k)
	if err != nil {
		t.Fatal(err)
	}
	return k, &k1
}

// The vectors of C2SP's XAES-256-GCM.md. The first has the top bit of L clear,
// the second set, so both ways of the doubling are seen.
func TestVectors(t *testing.T) {
	ctx := context.Background()
	nonce, plaintext := []byte("ABCDEFGHIJKLMNOPQRSTUVWX"), []byte("XAES-256-GCM")
	for _, v := range []struct {
		fill        byte
		aad, sealed string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		k, k1 := newKey(t, bytes.Repeat([]byte{v.fill}, 32))
		sealed, err := xaes.Seal(ctx, k, k1, nil, nonce, plaintext, []byte(v.aad))
		if err != nil || hex.EncodeToString(sealed) != v.sealed {
			t.Errorf("key of %02x: %x, %v", v.fill, sealed, err)
		}
		opened, err := xaes.Open(ctx, k, k1, []byte("prefix "), nonce, sealed, []byte(v.aad))
		if err != nil || string(opened) != "prefix XAES-256-GCM" {
			t.Errorf("key of %02x: opens to %q, %v", v.fill, opened, err)
		}
	}
}

func TestAccumulatedVectors(t *testing.T) {
	ctx := context.Background()
	source, sink := sha3.NewSHAKE128(), sha3.NewSHAKE128()
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = source.Read(b)
		return b
	}
	for range 10_000 {
		k, k1 := newKey(t, read(xaes.KeySize))
		nonce := read(xaes.NonceSize)
		plaintext := read(int(read(1)[0]))
		aad := read(int(read(1)[0]))
		sealed, err := xaes.Seal(ctx, k, k1, nil, nonce, plaintext, aad)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := xaes.Open(ctx, k, k1, nil, nonce, sealed, aad)
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("does not open to what was sealed: %v", err)
		}
		_, _ = sink.Write(sealed)
	}
	sum := make([]byte, 32)
	_, _ = sink.Read(sum)
	if hex.EncodeToString(sum) != "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939" {
		t.Errorf("accumulated %x", sum)
	}
}

// Many derivations encrypted in one call give what each alone gives, and the
// one-time key is gone afterwards.
func TestBatchedDerivations(t *testing.T) {
	ctx := context.Background()
	k, k1 := newKey(t, bytes.Repeat([]byte{5}, 32))
	const messages = 7
	var blocks []byte
	nonces := make([][]byte, messages)
	for i := range nonces {
		nonces[i] = bytes.Repeat([]byte{byte(i + 1)}, xaes.NonceSize)
		blocks = xaes.AppendDerivation(blocks, k1, nonces[i])
	}
	if len(blocks) != messages*xaes.DerivationSize {
		t.Fatalf("%d bytes for %d messages", len(blocks), messages)
	}
	if err := k.EncryptBlocks(ctx, blocks, blocks); err != nil {
		t.Fatal(err)
	}
	for i, nonce := range nonces {
		derived := blocks[i*xaes.DerivationSize : (i+1)*xaes.DerivationSize]
		again := bytes.Clone(derived)
		sealed := xaes.SealDerived(nil, derived, nonce, []byte("message"), nil)
		alone, err := xaes.Seal(ctx, k, k1, nil, nonce, []byte("message"), nil)
		if err != nil || !bytes.Equal(sealed, alone) {
			t.Errorf("message %d differs from the same alone: %v", i, err)
		}
		opened, err := xaes.OpenDerived(nil, again, nonce, sealed, nil)
		if err != nil || string(opened) != "message" {
			t.Errorf("message %d opens to %q, %v", i, opened, err)
		}
		if zero := make([]byte, xaes.DerivationSize); !bytes.Equal(derived, zero) || !bytes.Equal(again, zero) {
			t.Errorf("message %d: the one-time key is still there", i)
		}
	}
}

func TestOpenRefusesEveryFlippedBit(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		k, k1 := newKey(t, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		nonce := rapid.SliceOfN(rapid.Byte(), 24, 24).Draw(t, "nonce")
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "plaintext")
		aad := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "aad")
		sealed, err := xaes.Seal(ctx, k, k1, nil, nonce, plaintext, aad)
		if err != nil {
			t.Fatal(err)
		}
		all := [][]byte{nonce, sealed, aad}
		bit := rapid.IntRange(0, 8*(len(nonce)+len(sealed)+len(aad))-1).Draw(t, "bit")
		for _, part := range all {
			if bit < 8*len(part) {
				part[bit/8] ^= 1 << (bit % 8)
				break
			}
			bit -= 8 * len(part)
		}
		if _, err := xaes.Open(ctx, k, k1, nil, nonce, sealed, aad); !errors.Is(err, xaes.ErrOpen) {
			t.Fatalf("a flipped bit: %v", err)
		}
	})
}

func TestWrongLengths(t *testing.T) {
	ctx := context.Background()
	k, k1 := newKey(t, make([]byte, 32))
	for _, n := range []int{0, 12, 23, 25} {
		if _, err := xaes.Seal(ctx, k, k1, nil, make([]byte, n), nil, nil); err == nil {
			t.Errorf("sealed with a nonce of %d bytes", n)
		}
		if _, err := xaes.Open(ctx, k, k1, nil, make([]byte, n), make([]byte, 16), nil); err == nil {
			t.Errorf("opened with a nonce of %d bytes", n)
		}
	}
	for _, n := range []int{0, 15} {
		if _, err := xaes.Open(ctx, k, k1, nil, make([]byte, 24), make([]byte, n), nil); !errors.Is(err, xaes.ErrOpen) {
			t.Errorf("opening %d bytes: %v", n, err)
		}
	}
}

// What the key says comes through, and is never mistaken for a forgery.
func TestKeyErrors(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	k, k1 := newKey(t, make([]byte, 32))
	if _, err := xaes.NewSubkey(ctx, k); !errors.Is(err, context.Canceled) {
		t.Errorf("NewSubkey: %v", err)
	}
	if _, err := xaes.Seal(ctx, k, k1, nil, make([]byte, 24), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Seal: %v", err)
	}
	if _, err := xaes.Open(ctx, k, k1, nil, make([]byte, 24), make([]byte, 16), nil); !errors.Is(err, context.Canceled) || errors.Is(err, xaes.ErrOpen) {
		t.Errorf("Open: %v", err)
	}
	derived := bytes.Repeat([]byte{7}, xaes.DerivationSize)
	if err := xaes.Derive(ctx, k, k1, derived, make([]byte, 24)); !errors.Is(err, context.Canceled) || !bytes.Equal(derived, make([]byte, xaes.DerivationSize)) {
		t.Errorf("Derive: %v, left %x", err, derived)
	}
	for _, n := range []int{0, 16, 31, 33} {
		if err := xaes.Derive(context.Background(), k, k1, make([]byte, n), make([]byte, 24)); err == nil {
			t.Errorf("derived into %d bytes", n)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k, k1 := newKey(b, make([]byte, 32))
	nonce, plaintext := make([]byte, 24), make([]byte, 78)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := xaes.Seal(context.Background(), k, k1, nil, nonce, plaintext, nonce); err != nil {
			b.Fatal(err)
		}
	}
}
