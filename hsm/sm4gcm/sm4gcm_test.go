package sm4gcm_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/cbcmac"
	"github.com/emmansun/gmsm/sm4"

	"github.com/raftkms/raftkms/hsm/sm4gcm"
	"github.com/raftkms/raftkms/hsm/xaes"
)

// plainKey is an SM4 key in this process.
type plainKey []byte

func (k plainKey) EncryptBlocks(_ context.Context, dst, src []byte) error {
	block, err := sm4.NewCipher(k)
	if err != nil {
		return err
	}
	for at := 0; at < len(src); at += 16 {
		block.Encrypt(dst[at:at+16], src[at:at+16])
	}
	return nil
}

var nonce = []byte("ABCDEFGHIJKLMNOPQRSTUVWX")

func derive(t *testing.T, key plainKey, nonce []byte) []byte {
	t.Helper()
	k1, err := xaes.NewSubkey(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	derived := make([]byte, sm4gcm.KeySize)
	if err := sm4gcm.Derive(context.Background(), key, &k1, derived, nonce); err != nil {
		t.Fatal(err)
	}
	return derived
}

// The derivation is CMAC as another library computes it.
func TestDeriveIsCMAC(t *testing.T) {
	for fill := range byte(20) {
		key := plainKey(bytes.Repeat([]byte{fill}, 16))
		block, err := sm4.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		want := cbcmac.NewCMAC(block, 16).MAC(append([]byte{0, 1, 'X', 0}, nonce[:12]...))
		if got := derive(t, key, nonce); !bytes.Equal(got, want) {
			t.Errorf("key of %02x: %x, CMAC gives %x", fill, got, want)
		}
	}
}

// Golden vectors: what is stored must open for ever.
func TestGolden(t *testing.T) {
	f := func(fill byte, aad, sealed string) {
		t.Helper()
		key := plainKey(bytes.Repeat([]byte{fill}, 16))
		got := sm4gcm.Seal(nil, derive(t, key, nonce), nonce, []byte("SM4-GCM"), []byte(aad))
		if hex.EncodeToString(got) != sealed {
			t.Errorf("key of %02x: %x", fill, got)
		}
		opened, err := sm4gcm.Open(nil, derive(t, key, nonce), nonce, got, []byte(aad))
		if err != nil || string(opened) != "SM4-GCM" {
			t.Errorf("key of %02x: opens to %q, %v", fill, opened, err)
		}
		got[0] ^= 1
		if _, err := sm4gcm.Open(nil, derive(t, key, nonce), nonce, got, []byte(aad)); !errors.Is(err, xaes.ErrOpen) {
			t.Errorf("key of %02x: an altered ciphertext: %v", fill, err)
		}
	}
	f(1, "", "6d99223a7800a806d12b1fb42247f2b59097fffcb573a1")
	f(3, "raftkms", "2e1fc4c11568a3d14ee4e8a40cfccb9d14ef829058e553")
}

func TestDeriveRefuses(t *testing.T) {
	var k1 xaes.Subkey
	for _, size := range [][2]int{{15, 24}, {16, 12}, {32, 24}} {
		if err := sm4gcm.Derive(context.Background(), plainKey(make([]byte, 16)), &k1, make([]byte, size[0]), make([]byte, size[1])); err == nil {
			t.Errorf("room for %d bytes, a nonce of %d: accepted", size[0], size[1])
		}
	}
}
