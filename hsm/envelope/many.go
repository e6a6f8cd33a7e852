package envelope

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// manyAtOnce is how many messages of [AppendSealMany] share one call of the key:
// enough that the call costs each of them next to nothing, and few enough that
// those who wait for the same key do not wait for long.
const manyAtOnce = 128

// SealedSize is the size of the envelope of n bytes.
func SealedSize(n int) int { return HeaderSize + paddedSize(n) + xaes.Overhead }

// AppendSealMany is [AppendSeal] of every size bytes of plaintexts, one envelope
// after the other, each with a nonce of its own and [SealedSize] bytes. The
// one-time keys of many come from one call of the key.
func AppendSealMany(ctx context.Context, dst []byte, key *Key, f Fields, plaintexts []byte, size int, c Context) ([]byte, error) {
	limit, err := f.Purpose.limit()
	switch {
	case err != nil:
		return nil, fmt.Errorf("sealing envelopes: %w", err)
	case size < 1 || len(plaintexts)%size != 0:
		return nil, fmt.Errorf("sealing envelopes: %d bytes are not plaintexts of %d", len(plaintexts), size)
	case size > limit:
		return nil, fmt.Errorf("%w: %d bytes are more than %d", ErrTooLong, size, limit)
	}
	dst = slices.Grow(dst, len(plaintexts)/size*SealedSize(size))
	w := takeWork()
	defer w.giveBack()
	for part := range slices.Chunk(plaintexts, manyAtOnce*size) {
		if dst, err = appendSealPart(ctx, w, dst, key, f, part, size, c); err != nil {
			return nil, fmt.Errorf("sealing envelopes: %w", err)
		}
	}
	return dst, nil
}

// appendSealPart seals at most manyAtOnce plaintexts.
func appendSealPart(ctx context.Context, w *work, dst []byte, key *Key, f Fields, part []byte, size int, c Context) ([]byte, error) {
	count := len(part) / size
	nonces := make([]byte, count*xaes.NonceSize)
	if _, err := rand.Read(nonces); err != nil {
		return nil, fmt.Errorf("drawing nonces: %w", err)
	}
	derived, err := key.deriveMany(ctx, nonces)
	if err != nil {
		return nil, err
	}
	defer clear(derived[:cap(derived)])
	one := len(derived) / count
	for i := range count {
		h := Header{Fields: f, Algorithm: key.algorithm, Nonce: [xaes.NonceSize]byte(nonces[i*xaes.NonceSize:])}
		start := len(dst)
		dst = h.appendTo(dst)
		w.aad = c.appendTo(append(w.aad[:0], dst[start:]...))
		padded := appendPadded(dst, part[i*size:(i+1)*size])[len(dst):]
		dst = key.sealDerived(dst, derived[i*one:(i+1)*one], h.Nonce[:], padded, w.aad)
	}
	return dst, nil
}
