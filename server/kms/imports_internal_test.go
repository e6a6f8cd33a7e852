package kms

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// The digest of material lies sealed in the records of keys: it stays what it was.
func TestMaterialDigestStays(t *testing.T) {
	for _, material := range [][]byte{nil, []byte("m"), bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{7}, 1219)} {
		n := len(material)
		framed := append([]byte{0, 0, byte(n >> 8), byte(n)}, material...)
		if materialDigest(material) != sha256.Sum256(framed) {
			t.Errorf("%d bytes have another digest", n)
		}
	}
}
