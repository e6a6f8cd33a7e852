package hsmtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha3"
	"encoding/hex"
	"testing"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// The vectors of C2SP's XAES-256-GCM.md, on keys inside the module.
func (s *suite) vectors(t *testing.T) {
	ctx := testContext(t)
	nonce, plaintext := []byte("ABCDEFGHIJKLMNOPQRSTUVWX"), []byte("XAES-256-GCM")
	m := s.rooted(t)
	for _, level := range levels {
		for _, v := range []struct {
			fill        byte
			aad, sealed string
		}{
			{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
			{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
		} {
			k := s.LoadKnown(ctx, t, m, level, bytes.Repeat([]byte{v.fill}, 32))
			k1, err := xaes.NewSubkey(ctx, k)
			ok(t, err)
			sealed, err := xaes.Seal(ctx, k, &k1, nil, nonce, plaintext, []byte(v.aad))
			ok(t, err)
			if hex.EncodeToString(sealed) != v.sealed {
				t.Errorf("%v, key of %02x: %x", level, v.fill, sealed)
			}
			opened, err := xaes.Open(ctx, k, &k1, nil, nonce, sealed, []byte(v.aad))
			ok(t, err)
			if !bytes.Equal(opened, plaintext) {
				t.Errorf("%v, key of %02x: opens to %q", level, v.fill, opened)
			}
			ok(t, k.Close())
		}
	}
}

// Many keys and nonces from a fixed stream, against crypto/aes in the process:
// the derivations of four messages in one call, as they are batched in service.
func (s *suite) vectorsBatched(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for _, level := range levels {
		source := sha3.NewSHAKE128()
		for range 100 {
			raw := make([]byte, 32)
			nonces := make([]byte, 4*xaes.NonceSize)
			_, _ = source.Read(raw)
			_, _ = source.Read(nonces)
			reference, err := aes.NewCipher(raw)
			ok(t, err)
			k := s.LoadKnown(ctx, t, m, level, bytes.Clone(raw))
			k1, err := xaes.NewSubkey(ctx, k)
			ok(t, err)
			var derivations []byte
			for at := 0; at < len(nonces); at += xaes.NonceSize {
				derivations = xaes.AppendDerivation(derivations, &k1, nonces[at:at+xaes.NonceSize])
			}
			expect := encryptWith(reference, derivations)
			ok(t, k.EncryptBlocks(ctx, derivations, derivations))
			if !bytes.Equal(derivations, expect) {
				t.Fatalf("%v: derivations differ from crypto/aes", level)
			}
			ok(t, k.Close())
		}
	}
}

func encryptWith(block cipher.Block, src []byte) []byte {
	dst := make([]byte, len(src))
	for at := 0; at < len(src); at += 16 {
		block.Encrypt(dst[at:at+16], src[at:at+16])
	}
	return dst
}
