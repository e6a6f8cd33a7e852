// Package kwp is AES key wrap with padding, RFC 5649 (KWP of NIST SP 800-38F).
//
// It wraps key material from 1 to [MaxPlaintext] bytes with integrity but
// without associated data: what a blob is for must be bound elsewhere. Whether
// a blob opens is decided in constant time and told as one error.
package kwp

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxPlaintext bounds what is wrapped, in bytes.
const MaxPlaintext = 8192

const (
	semiblock = 8
	// icv is the fixed half of the alternative initial value, RFC 5649 §3.
	icv = 0xa65959a6
)

// ErrUnwrap: the blob was not made by Wrap under this key.
var ErrUnwrap = errors.New("the wrapped key does not open")

// WrappedSize returns the size in bytes of the blob of n bytes.
func WrappedSize(n int) int { return (n+semiblock-1)/semiblock*semiblock + semiblock }

// Wrap wraps plaintext, 1 to [MaxPlaintext] bytes, under the AES key of block.
func Wrap(block cipher.Block, plaintext []byte) ([]byte, error) {
	if len(plaintext) < 1 || len(plaintext) > MaxPlaintext {
		return nil, fmt.Errorf("wrapping a key: %d bytes are not between 1 and %d", len(plaintext), MaxPlaintext)
	}
	blob := make([]byte, WrappedSize(len(plaintext)))
	binary.BigEndian.PutUint32(blob, icv)
	binary.BigEndian.PutUint32(blob[4:], uint32(len(plaintext)))
	copy(blob[semiblock:], plaintext)
	if len(blob) == 2*semiblock {
		block.Encrypt(blob, blob)
		return blob, nil
	}
	var work [2 * semiblock]byte // A | R[i]
	copy(work[:], blob[:semiblock])
	t := uint64(1)
	for range 6 {
		for at := semiblock; at < len(blob); at += semiblock {
			copy(work[semiblock:], blob[at:])
			block.Encrypt(work[:], work[:])
			xorCounter(&work, t)
			copy(blob[at:], work[semiblock:])
			t++
		}
	}
	copy(blob, work[:semiblock])
	return blob, nil
}

// Unwrap is the inverse of [Wrap]; anything wrong is [ErrUnwrap]. The result is
// the caller's to wipe: it fills the slice from its start, and the padding
// behind it is zero.
func Unwrap(block cipher.Block, blob []byte) ([]byte, error) {
	if len(blob) < 2*semiblock || len(blob) > WrappedSize(MaxPlaintext) || len(blob)%semiblock != 0 {
		return nil, ErrUnwrap
	}
	var work [2 * semiblock]byte
	plain := make([]byte, len(blob)-semiblock)
	if len(blob) == 2*semiblock {
		block.Decrypt(work[:], blob)
		copy(plain, work[semiblock:])
	} else {
		copy(work[:], blob[:semiblock])
		copy(plain, blob[semiblock:])
		t := uint64(6 * (len(plain) / semiblock))
		for range 6 {
			for at := len(plain) - semiblock; at >= 0; at -= semiblock {
				xorCounter(&work, t)
				copy(work[semiblock:], plain[at:])
				block.Decrypt(work[:], work[:])
				copy(plain[at:], work[semiblock:])
				t--
			}
		}
	}
	n, valid := check([semiblock]byte(work[:semiblock]), plain)
	clear(work[:])
	if !valid {
		clear(plain)
		return nil, ErrUnwrap
	}
	return plain[:n], nil
}

// check looks at the integrity value, the length and the padding, all of them
// whatever the others say, so that its time depends on the size of the blob alone.
func check(aiv [semiblock]byte, plain []byte) (n int, valid bool) {
	same := subtle.ConstantTimeEq(int32(binary.BigEndian.Uint32(aiv[:])^icv), 0)
	// The length lies in the last semiblock: 0 <= len(plain)-length < 8, and
	// the subtraction wraps to something large when the length is too long.
	padding := uint32(len(plain)) - binary.BigEndian.Uint32(aiv[4:])
	same &= subtle.ConstantTimeEq(int32(padding>>3), 0)
	var stray byte
	for i, b := range plain[len(plain)-semiblock:] {
		// Byte i of the last semiblock is padding when i >= 8 - padding.
		isPadding := subtle.ConstantTimeLessOrEq(semiblock-int(padding&7), i)
		stray |= b & -byte(isPadding)
	}
	same &= subtle.ConstantTimeByteEq(stray, 0)
	return len(plain) - int(padding&7), same == 1
}

// xorCounter mixes the step number into A.
func xorCounter(work *[2 * semiblock]byte, t uint64) {
	binary.BigEndian.PutUint64(work[:], binary.BigEndian.Uint64(work[:])^t)
}
