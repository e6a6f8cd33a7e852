package iam

import "crypto/sha256"

// macs counts the MACs of one check: the work that is to be the same whether
// what is asked about exists or not.
type macs int

// sum is [hmacSHA256], counted.
func (m *macs) sum(key, message []byte) [sha256.Size]byte {
	*m++
	return hmacSHA256(key, message)
}

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
