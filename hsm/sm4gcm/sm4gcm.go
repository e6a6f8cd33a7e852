// Package sm4gcm is SM4-GCM (GB/T 36624) with a key of its own for each message,
// over an SM4 key that need not be in this process: package xaes done with SM4.
//
// A message's nonce has 24 bytes. One SM4-CMAC block over 00 01 58 00 and its
// first 12 bytes is the message's SM4 key; its last 12 are the nonce of GCM
// under that one. What it never does: it draws no nonces and keeps no key.
// Message keys are wiped; the key schedule that the library makes of one stays
// on the Go heap until it is collected.
package sm4gcm

import (
	"context"
	"crypto/cipher"
	"fmt"

	"github.com/emmansun/gmsm/sm4"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// KeySize is the size of a message's key in bytes.
const KeySize = 16

// Derive makes the key of the message with that nonce in derived, of [KeySize]
// bytes, which [Seal] or [Open] wipe. k1 is the CMAC subkey of the key, from
// [xaes.NewSubkey]. On an error derived is wiped here.
func Derive(ctx context.Context, key xaes.BlockEncrypter, k1 *xaes.Subkey, derived, nonce []byte) error {
	if len(derived) != KeySize || len(nonce) != xaes.NonceSize {
		return fmt.Errorf("deriving a message key: room for %d bytes, a nonce of %d", len(derived), len(nonce))
	}
	// The first of the two blocks of XAES is the block that CMAC encrypts.
	var blocks [xaes.DerivationSize]byte
	xaes.AppendDerivation(blocks[:0], k1, nonce)
	copy(derived, blocks[:KeySize])
	clear(blocks[:])
	if err := key.EncryptBlocks(ctx, derived, derived); err != nil {
		clear(derived)
		return fmt.Errorf("deriving a message key: %w", err)
	}
	return nil
}

// Seal encrypts plaintext under the message's key, appends ciphertext and tag
// to dst and wipes derived. plaintext and dst overlap entirely or not at all.
func Seal(dst, derived, nonce, plaintext, aad []byte) []byte {
	return messageKey(derived).Seal(dst, nonce[12:], plaintext, aad)
}

// Open is the inverse of [Seal]; it too wipes derived. Any failure is [xaes.ErrOpen].
func Open(dst, derived, nonce, ciphertext, aad []byte) ([]byte, error) {
	out, err := messageKey(derived).Open(dst, nonce[12:], ciphertext, aad)
	if err != nil {
		return nil, xaes.ErrOpen
	}
	return out, nil
}

func messageKey(derived []byte) cipher.AEAD {
	block, err := sm4.NewCipher(derived)
	clear(derived)
	if err != nil {
		panic("sm4gcm: " + err.Error()) // impossible but for a wrong length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("sm4gcm: " + err.Error()) // impossible: SM4 has blocks of 16 bytes
	}
	return aead
}
