package envelope

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/xaes"
)

// Sizes of sealed secrets, in bytes.
const (
	MaxSecret        = 64 << 10 // of the plaintext
	MaxLabel         = 1024
	secretHeaderSize = 1 + 4 + xaes.NonceSize
	secretOverhead   = secretHeaderSize + xaes.Overhead
)

// SealSecret encrypts a secret of an identity (an access key's secret, a token
// seal) under root-seal, of which generation is the one in use:
//
//	version(1)=1 root generation(4) nonce(24) ciphertext tag(16)
//
// label says which secret it is, for example "access-key-secret", a zero byte
// and the record's id; the secret opens only under the same label. Errors:
// [ErrTooLong], and what the key says.
func SealSecret(ctx context.Context, key *Key, generation hsm.RootGeneration, secret, label []byte) ([]byte, error) {
	var nonce [xaes.NonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	return sealSecretWithNonce(ctx, key, generation, nonce, secret, label)
}

// SecretGeneration tells under which generation of root-seal b was sealed.
// Nothing of that is proved until b has been opened. Bytes that are no sealed
// secret are [ErrMalformed].
func SecretGeneration(b []byte) (hsm.RootGeneration, error) {
	if len(b) < secretOverhead || len(b) > secretOverhead+MaxSecret {
		return 0, fmt.Errorf("%w: a sealed secret of %d bytes", ErrMalformed, len(b))
	}
	if b[0] != formatNumber {
		return 0, fmt.Errorf("%w: unknown version %d of a sealed secret", ErrMalformed, b[0])
	}
	return hsm.RootGeneration(binary.BigEndian.Uint32(b[1:5])), nil
}

// OpenSecret decrypts what [SealSecret] made for the same label. Errors:
// [ErrMalformed], [ErrAuthentication], and what the key says. The secret is
// the caller's to wipe.
func OpenSecret(ctx context.Context, key *Key, b, label []byte) ([]byte, error) {
	if _, err := SecretGeneration(b); err != nil {
		return nil, err
	}
	if len(label) > MaxLabel {
		return nil, ErrAuthentication // nothing was ever sealed under it
	}
	header := b[:secretHeaderSize]
	w := takeWork()
	defer w.giveBack()
	w.setSecret(header, label)
	secret, err := key.open(ctx, w, nil, header[5:], b[secretHeaderSize:])
	if err != nil {
		return nil, fmt.Errorf("opening a secret: %w", err)
	}
	return secret, nil
}

func sealSecretWithNonce(ctx context.Context, key *Key, generation hsm.RootGeneration, nonce [xaes.NonceSize]byte, secret, label []byte) ([]byte, error) {
	if len(secret) > MaxSecret {
		return nil, fmt.Errorf("%w: a secret of %d bytes is more than %d", ErrTooLong, len(secret), MaxSecret)
	}
	if len(label) > MaxLabel {
		return nil, fmt.Errorf("%w: a label of %d bytes is more than %d", ErrTooLong, len(label), MaxLabel)
	}
	b := make([]byte, 0, secretOverhead+len(secret))
	b = append(b, formatNumber)
	b = binary.BigEndian.AppendUint32(b, uint32(generation))
	b = append(b, nonce[:]...)
	w := takeWork()
	defer w.giveBack()
	w.setSecret(b, label)
	b, err := key.seal(ctx, w, b, b[5:secretHeaderSize], secret)
	if err != nil {
		return nil, fmt.Errorf("sealing a secret: %w", err)
	}
	return b, nil
}

// setSecret sets the additional data of a sealed secret: header, then label.
// The header has a fixed size, so the two cannot be shifted against each other.
func (w *work) setSecret(header, label []byte) {
	w.aad = append(append(w.aad, header...), label...)
}
