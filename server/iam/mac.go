package iam

import (
	"crypto/sha256"
	"encoding/hex"
)

// hmacSHA256 is HMAC-SHA-256 (RFC 2104). The standard library's keeps the
// padded key in objects on the heap that nobody can wipe; this one works on the
// stack and wipes it. That they agree is tested.
func hmacSHA256(key, message []byte) (mac [sha256.Size]byte) {
	const blockSize = sha256.BlockSize
	var inner, outer [blockSize]byte
	if len(key) > blockSize {
		sum := sha256.Sum256(key)
		copy(inner[:], sum[:])
		clear(sum[:])
	} else {
		copy(inner[:], key)
	}
	for i := range inner {
		outer[i] = inner[i] ^ 0x5c
		inner[i] ^= 0x36
	}
	var space [blockSize + 512]byte // more than any string to sign
	text := append(append(space[:0], inner[:]...), message...)
	mac = sha256.Sum256(text)
	clear(text)
	text = append(append(space[:0], outer[:]...), mac[:]...)
	mac = sha256.Sum256(text)
	clear(text)
	clear(inner[:])
	clear(outer[:])
	return mac
}

// sign returns the signature of a string to sign, by the layout's key.
func (s *signature) sign(secret, text []byte) [sha256.Size]byte {
	switch s.layout {
	case scoped:
		var space [3 + maxSecret]byte
		start := append(append(space[:0], "SDK"...), secret...)
		key := hmacSHA256(start, s.date)
		clear(start)
		for _, part := range [...][]byte{s.region, s.service, []byte(scopeSuffix)} {
			key = hmacSHA256(key[:], part)
		}
		mac := hmacSHA256(key[:], text)
		clear(key[:])
		return mac
	case derived:
		// HKDF (RFC 5869) of one block: extract, expand, and then the hex
		// text of the result is the key.
		key := hmacSHA256(s.accessKey, secret)
		var space [3*maxScopePart + 1]byte
		key = hmacSHA256(key[:], append(append(space[:0], s.scope...), 1))
		var digits [2 * sha256.Size]byte
		hex.Encode(digits[:], key[:])
		mac := hmacSHA256(digits[:], text)
		clear(key[:])
		clear(digits[:])
		return mac
	default:
		return hmacSHA256(secret, text)
	}
}
