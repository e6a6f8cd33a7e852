package envelope

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/sm4gcm"
	"github.com/raftkms/raftkms/hsm/xaes"
)

// Key is a loaded key with the CMAC subkey that belongs to it, made once when
// the key is loaded. It is safe for concurrent use, Close included: a call
// beside it succeeds or fails with what the closed key says.
type Key struct {
	key       hsm.Key
	algorithm Algorithm

	mu sync.RWMutex
	k1 xaes.Subkey
}

// NewKey asks key for the one block operation that its subkey needs. The Key
// owns key from here on; on an error the caller still does.
func NewKey(ctx context.Context, key hsm.Key) (*Key, error) {
	return newKey(ctx, key, AlgorithmXAES256GCM)
}

// NewSM4Key is [NewKey] for an SM4 key.
func NewSM4Key(ctx context.Context, key hsm.Key) (*Key, error) {
	return newKey(ctx, key, AlgorithmSM4GCM)
}

func newKey(ctx context.Context, key hsm.Key, algorithm Algorithm) (*Key, error) {
	k1, err := xaes.NewSubkey(ctx, key)
	if err != nil {
		return nil, err
	}
	return &Key{key: key, algorithm: algorithm, k1: k1}, nil
}

// Close closes the key below and wipes the subkey.
func (k *Key) Close() error {
	// In this order: a call that finds the wiped subkey must find a closed key.
	err := k.key.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.k1 = xaes.Subkey{}
	return err
}

func (k *Key) subkey() xaes.Subkey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.k1
}

// seal does what the key's algorithm says, with the additional data in w.
func (k *Key) seal(ctx context.Context, w *work, dst, nonce, plaintext []byte) ([]byte, error) {
	derived := w.derived[:k.derivedSize()]
	if err := k.derive(ctx, derived, nonce); err != nil {
		return nil, err
	}
	return k.sealDerived(dst, derived, nonce, plaintext, w.aad), nil
}

// derivedSize is the size of the key of one message.
func (k *Key) derivedSize() int {
	if k.algorithm == AlgorithmSM4GCM {
		return sm4gcm.KeySize
	}
	return xaes.KeySize
}

// derive makes the key of a message.
func (k *Key) derive(ctx context.Context, derived, nonce []byte) error {
	k1 := k.subkey()
	if k.algorithm == AlgorithmSM4GCM {
		return sm4gcm.Derive(ctx, k.key, &k1, derived, nonce)
	}
	return xaes.Derive(ctx, k.key, &k1, derived, nonce)
}

// deriveMany makes the keys of many messages, one after the other, with one
// call of the key. They are the caller's to wipe, all of the slice's capacity.
func (k *Key) deriveMany(ctx context.Context, nonces []byte) ([]byte, error) {
	k1 := k.subkey()
	size := k.derivedSize()
	derived := make([]byte, 0, len(nonces)/xaes.NonceSize*size+xaes.DerivationSize)
	for nonce := range slices.Chunk(nonces, xaes.NonceSize) {
		end := len(derived) + size // SM4-GCM takes the first block of the two
		derived = xaes.AppendDerivation(derived, &k1, nonce)[:end]
	}
	if err := k.key.EncryptBlocks(ctx, derived, derived); err != nil {
		clear(derived[:cap(derived)])
		return nil, fmt.Errorf("deriving one-time keys: %w", err)
	}
	return derived, nil
}

// sealDerived seals with the key of the message, which it wipes.
func (k *Key) sealDerived(dst, derived, nonce, plaintext, aad []byte) []byte {
	if k.algorithm == AlgorithmSM4GCM {
		return sm4gcm.Seal(dst, derived, nonce, plaintext, aad)
	}
	return xaes.SealDerived(dst, derived, nonce, plaintext, aad)
}

// open is the inverse of seal; a message that does not authenticate is
// ErrAuthentication.
func (k *Key) open(ctx context.Context, w *work, dst, nonce, ciphertext []byte) (out []byte, err error) {
	derived := w.derived[:k.derivedSize()]
	if err := k.derive(ctx, derived, nonce); err != nil {
		return nil, err
	}
	if k.algorithm == AlgorithmSM4GCM {
		out, err = sm4gcm.Open(dst, derived, nonce, ciphertext, w.aad)
	} else {
		out, err = xaes.OpenDerived(dst, derived, nonce, ciphertext, w.aad)
	}
	if errors.Is(err, xaes.ErrOpen) {
		return nil, ErrAuthentication
	}
	return out, err
}

// Seal encrypts plaintext under key into a new envelope with a random nonce.
// It copies the fields into the header as they are. Errors: [ErrTooLong], an
// unknown purpose, and what the key says.
func Seal(ctx context.Context, key *Key, f Fields, plaintext []byte, c Context) ([]byte, error) {
	return AppendSeal(ctx, nil, key, f, plaintext, c)
}

// AppendSeal is [Seal] appending to dst, whose spare capacity must not overlap plaintext.
func AppendSeal(ctx context.Context, dst []byte, key *Key, f Fields, plaintext []byte, c Context) ([]byte, error) {
	var nonce [xaes.NonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	return sealWithNonce(ctx, dst, key, f, nonce, plaintext, c)
}

// Open decrypts the envelope b. h is the header, from [ParseHeader], on which
// the caller has decided that this may be done and with which key; when b does
// not carry that very header nothing is decrypted. Errors: [ErrMalformed],
// [ErrAuthentication], and what the key says. The plaintext is the caller's to wipe.
func Open(ctx context.Context, key *Key, h Header, b []byte, c Context) ([]byte, error) {
	return AppendOpen(ctx, nil, key, h, b, c)
}

// AppendOpen is [Open] appending the plaintext to dst, whose spare capacity
// must not overlap b.
func AppendOpen(ctx context.Context, dst []byte, key *Key, h Header, b []byte, c Context) ([]byte, error) {
	found, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if found != h || h.Algorithm != key.algorithm {
		return nil, ErrAuthentication
	}
	w := takeWork()
	defer w.giveBack()
	w.aad = c.appendTo(append(w.aad, b[:HeaderSize]...))
	out, err := key.open(ctx, w, dst, b[HeaderSize-xaes.NonceSize:HeaderSize], b[HeaderSize:])
	if err != nil {
		return nil, fmt.Errorf("opening an envelope: %w", err)
	}
	n, ok := unpad(out[len(dst):])
	if !ok {
		clear(out[len(dst):])
		return nil, ErrAuthentication
	}
	return out[:len(dst)+n], nil
}

func sealWithNonce(ctx context.Context, dst []byte, key *Key, f Fields, nonce [xaes.NonceSize]byte, plaintext []byte, c Context) ([]byte, error) {
	limit, err := f.Purpose.limit()
	if err != nil {
		return nil, fmt.Errorf("sealing an envelope: %w", err)
	}
	if len(plaintext) > limit {
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrTooLong, len(plaintext), limit)
	}
	h := Header{Fields: f, Algorithm: key.algorithm, Nonce: nonce}
	dst = slices.Grow(dst, SealedSize(len(plaintext)))
	dst = h.appendTo(dst)
	padded := appendPadded(dst, plaintext)[len(dst):]
	w := takeWork()
	defer w.giveBack()
	header := dst[len(dst)-HeaderSize:]
	w.aad = c.appendTo(append(w.aad, header...))
	out, err := key.seal(ctx, w, dst, header[HeaderSize-xaes.NonceSize:], padded)
	if err != nil {
		clear(padded)
		return nil, fmt.Errorf("sealing an envelope: %w", err)
	}
	return out, nil
}

// paddedSize is the one permitted size of n bytes with their padding.
func paddedSize(n int) int { return max(n+1, minPadded) }

func appendPadded(dst, plaintext []byte) []byte {
	end := len(dst) + paddedSize(len(plaintext))
	dst = append(dst, plaintext...)
	dst = append(dst, 0x80)
	zeros := dst[len(dst):end]
	clear(zeros)
	return dst[:end]
}

// unpad returns how many bytes of padded are plaintext. The contents are
// authenticated by now, so its timing tells a stranger nothing.
func unpad(padded []byte) (int, bool) {
	n := bytes.LastIndexByte(padded, 0x80)
	if n < 0 || len(bytes.Trim(padded[n+1:], "\x00")) != 0 || paddedSize(n) != len(padded) {
		return 0, false
	}
	return n, true
}
