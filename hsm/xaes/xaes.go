// Package xaes is XAES-256-GCM (C2SP, XAES-256-GCM.md) over a key that need
// not be in this process: all that is asked of the key is to encrypt two AES
// blocks for each message.
//
// A message's nonce has 24 bytes. Its first 12 and the key give a one-time
// AES-256-GCM key; its last 12 are the nonce under that one. Random nonces are
// therefore safe for 2^80 messages under one key, where plain AES-GCM stops at
// 2^32.
//
// What it never does: it draws no nonces, keeps no key, and does not commit to
// the key (a ciphertext may open under two keys that someone chose together).
// One-time keys are wiped; the AES key schedule that the standard library
// makes of one stays on the Go heap until it is collected, and is worth
// exactly the one message that the process holds anyway.
package xaes

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// Sizes in bytes.
const (
	BlockSize      = 16 // of AES
	KeySize        = 32 // of the key and of a derived key
	NonceSize      = 24
	Overhead       = 16 // of the tag that Seal appends
	DerivationSize = 32 // of the blocks to encrypt for one message
)

// ErrOpen: the ciphertext, nonce, key and additional data do not belong together.
var ErrOpen = errors.New("message authentication failed")

// BlockEncrypter encrypts whole AES blocks, each by itself, under an AES-256
// key. hsm.Key is one. It touches neither slice once it has returned, whatever
// it returned: both serve again at once.
type BlockEncrypter interface {
	EncryptBlocks(ctx context.Context, dst, src []byte) error
}

// Subkey is K1 of the specification. It depends on the key alone, so it is
// made once when a key is loaded. It is secret: with it a chosen block
// encryption becomes a derivation.
type Subkey [BlockSize]byte

// NewSubkey makes K1 with one block operation under the key.
func NewSubkey(ctx context.Context, key BlockEncrypter) (Subkey, error) {
	var k1 Subkey
	l := make([]byte, BlockSize)
	if err := key.EncryptBlocks(ctx, l, make([]byte, BlockSize)); err != nil {
		return Subkey{}, fmt.Errorf("deriving the XAES subkey: %w", err)
	}
	// Doubling in GF(2^128); the branch-free mask keeps the top bit secret.
	carry := byte(0)
	for i := BlockSize - 1; i >= 0; i-- {
		k1[i] = l[i]<<1 | carry
		carry = l[i] >> 7
	}
	k1[BlockSize-1] ^= -carry & 0x87
	clear(l)
	return k1, nil
}

// AppendDerivation appends to dst the [DerivationSize] bytes that must be
// encrypted, block by block, under the key to get the one-time key of the
// message with that nonce. The blocks of many messages may go into one
// EncryptBlocks call. It panics when nonce has not [NonceSize] bytes.
func AppendDerivation(dst []byte, k1 *Subkey, nonce []byte) []byte {
	if len(nonce) != NonceSize {
		panic("xaes: incorrect nonce length")
	}
	for counter := byte(1); counter <= 2; counter++ {
		block := [BlockSize]byte{0, counter, 'X', 0}
		copy(block[4:], nonce[:12])
		for i := range block {
			block[i] ^= k1[i]
		}
		dst = append(dst, block[:]...)
	}
	return dst
}

// SealDerived encrypts plaintext under the one-time key (the encrypted blocks
// of [AppendDerivation] for the same nonce), appends ciphertext and tag to dst
// and wipes derived. plaintext and dst overlap entirely or not at all. It
// panics when derived or nonce have the wrong length.
func SealDerived(dst, derived, nonce, plaintext, aad []byte) []byte {
	return oneTime(derived, nonce).Seal(dst, nonce[12:], plaintext, aad)
}

// OpenDerived is the inverse of [SealDerived]; it too wipes derived. Any
// failure is [ErrOpen].
func OpenDerived(dst, derived, nonce, ciphertext, aad []byte) ([]byte, error) {
	out, err := oneTime(derived, nonce).Open(dst, nonce[12:], ciphertext, aad)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Seal derives and encrypts in one go: it appends ciphertext and tag to dst.
// A nonce must never serve two messages under one key.
func Seal(ctx context.Context, key BlockEncrypter, k1 *Subkey, dst, nonce, plaintext, aad []byte) ([]byte, error) {
	derived := make([]byte, DerivationSize)
	if err := Derive(ctx, key, k1, derived, nonce); err != nil {
		return nil, err
	}
	return SealDerived(dst, derived, nonce, plaintext, aad), nil
}

// Open derives and decrypts in one go: it appends the plaintext to dst. A
// message that does not authenticate is [ErrOpen]; every other error comes
// from the key.
func Open(ctx context.Context, key BlockEncrypter, k1 *Subkey, dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(ciphertext) < Overhead {
		return nil, ErrOpen
	}
	derived := make([]byte, DerivationSize)
	if err := Derive(ctx, key, k1, derived, nonce); err != nil {
		return nil, err
	}
	return OpenDerived(dst, derived, nonce, ciphertext, aad)
}

// Derive makes the one-time key of the message with that nonce, in memory of
// the caller that may come from a pool: derived has [DerivationSize] bytes,
// which [SealDerived] or [OpenDerived] wipe. On an error it is wiped here.
func Derive(ctx context.Context, key BlockEncrypter, k1 *Subkey, derived, nonce []byte) error {
	if len(derived) != DerivationSize || len(nonce) != NonceSize {
		return fmt.Errorf("deriving a one-time key: room for %d bytes, a nonce of %d", len(derived), len(nonce))
	}
	AppendDerivation(derived[:0], k1, nonce)
	if err := key.EncryptBlocks(ctx, derived, derived); err != nil {
		clear(derived)
		return fmt.Errorf("deriving a one-time key: %w", err)
	}
	return nil
}

func oneTime(derived, nonce []byte) cipher.AEAD {
	if len(derived) != KeySize || len(nonce) != NonceSize {
		panic("xaes: incorrect length of a one-time key or nonce")
	}
	block, err := aes.NewCipher(derived)
	clear(derived)
	if err != nil {
		panic("xaes: " + err.Error()) // impossible: the length was checked
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("xaes: " + err.Error()) // impossible: AES has blocks of 16 bytes
	}
	return aead
}
