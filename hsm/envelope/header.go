package envelope

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// Sizes in bytes.
const (
	HeaderSize   = 47
	MinSize      = 141  // of an envelope: 188 characters in base64
	MaxData      = 4096 // of the plaintext of [PurposeData]
	MaxDataKey   = 1024 // of the plaintext of [PurposeDataKey]
	MaxSize      = HeaderSize + MaxData + 1 + xaes.Overhead
	minPadded    = MinSize - HeaderSize - xaes.Overhead
	formatNumber = 1
)

var (
	// ErrMalformed: the bytes are no envelope of ours, whatever the key.
	ErrMalformed = errors.New("malformed ciphertext")
	// ErrAuthentication: key, header, context and ciphertext do not belong
	// together. It is the one error for every such failure.
	ErrAuthentication = errors.New("ciphertext does not authenticate")
	// ErrTooLong: the plaintext or the context is larger than the format allows.
	ErrTooLong = errors.New("too long to encrypt")
)

// Purpose says what is inside. It decides which permission opening needs.
type Purpose uint8

// The purposes.
const (
	PurposeDataKey Purpose = 1 // a data key made by the service
	PurposeData    Purpose = 2 // bytes given by a caller
)

// Algorithm names the encryption.
type Algorithm uint8

// The algorithms.
const (
	AlgorithmXAES256GCM Algorithm = 1 // XAES-256-GCM of C2SP, see package xaes
	AlgorithmSM4GCM     Algorithm = 2 // SM4-GCM with derived keys, see package sm4gcm
)

// Fields are the parts of a header that the caller of Seal decides.
type Fields struct {
	Purpose    Purpose
	KeyID      [16]byte
	KeyVersion uint32
}

// Header is what an envelope tells in the clear. Nothing of it is proved until
// the envelope has been opened.
type Header struct {
	Fields
	Algorithm Algorithm
	Nonce     [xaes.NonceSize]byte
}

// ParseHeader reads the header of the envelope b. Everything that can be seen
// without a key is checked, the length of the whole included; a failure is
// [ErrMalformed].
func ParseHeader(b []byte) (Header, error) {
	if len(b) < MinSize || len(b) > MaxSize {
		return Header{}, fmt.Errorf("%w: %d bytes are not between %d and %d", ErrMalformed, len(b), MinSize, MaxSize)
	}
	h := Header{
		Fields: Fields{
			Purpose:    Purpose(b[1]),
			KeyID:      [16]byte(b[2:18]),
			KeyVersion: binary.BigEndian.Uint32(b[18:22]),
		},
		Algorithm: Algorithm(b[22]),
		Nonce:     [xaes.NonceSize]byte(b[23:HeaderSize]),
	}
	if b[0] != formatNumber {
		return Header{}, fmt.Errorf("%w: unknown version %d", ErrMalformed, b[0])
	}
	if h.Algorithm != AlgorithmXAES256GCM && h.Algorithm != AlgorithmSM4GCM {
		return Header{}, fmt.Errorf("%w: unknown algorithm %d", ErrMalformed, h.Algorithm)
	}
	limit, err := h.Purpose.limit()
	if err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(b) > HeaderSize+limit+1+xaes.Overhead {
		return Header{}, fmt.Errorf("%w: %d bytes are too many for purpose %d", ErrMalformed, len(b), h.Purpose)
	}
	return h, nil
}

func (h Header) appendTo(dst []byte) []byte {
	dst = append(dst, formatNumber, byte(h.Purpose))
	dst = append(dst, h.KeyID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, h.KeyVersion)
	dst = append(dst, byte(h.Algorithm))
	return append(dst, h.Nonce[:]...)
}

// limit is the largest plaintext in bytes.
func (p Purpose) limit() (int, error) {
	switch p {
	case PurposeDataKey:
		return MaxDataKey, nil
	case PurposeData:
		return MaxData, nil
	default:
		return 0, fmt.Errorf("unknown purpose %d", p)
	}
}
