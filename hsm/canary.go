package hsm

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

const (
	canaryVersion = 1
	canaryDomain  = "raftkms canary v1"
	// canaryBlock is the block whose encryption is published. It must not be
	// the zero block: the encryption of that one is the secret from which
	// XAES derives its subkey.
	canaryBlock = "raftkms canary 1"
	// MaxCanarySize bounds an encoded canary, in bytes.
	MaxCanarySize = 1024
)

// Canary proves that a root set is the cluster's own. It is made once for each
// generation, lies in the replicated state, and holds nothing secret: a node
// accepts roots, received or found by label, only if they open it.
//
// Each of the four keys has a part of its own, so that no single one can be
// swapped for another.
type Canary struct {
	FormatVersion uint8          `cbor:"1,keyasint"`
	Cluster       ClusterID      `cbor:"2,keyasint"`
	Generation    RootGeneration `cbor:"3,keyasint"`
	HSM           CanaryKey      `cbor:"4,keyasint"` // opens under [RootHSM]
	Soft          CanaryKey      `cbor:"5,keyasint"` // opens under [RootSoft]
	Seal          []byte         `cbor:"6,keyasint"` // the fixed block under [RootSeal], 16 bytes
	MAC           []byte         `cbor:"7,keyasint"` // of all the above under [RecordMAC], 32 bytes
}

// CanaryKey is a wrapped AES-256 key and the encryption of the fixed block under it.
type CanaryKey struct {
	Blob  []byte `cbor:"1,keyasint"`
	Block []byte `cbor:"2,keyasint"` // 16 bytes
}

// NewCanary makes the canary of a generation of the cluster's root sets that the
// module holds.
func NewCanary(ctx context.Context, m Module, cluster ClusterID, generation RootGeneration) (Canary, error) {
	m = m.Under(generation)
	c := Canary{FormatVersion: canaryVersion, Cluster: cluster, Generation: generation}
	var err error
	if c.HSM, err = newCanaryKey(ctx, m, LevelHSM, generation); err != nil {
		return Canary{}, err
	}
	if c.Soft, err = newCanaryKey(ctx, m, LevelSoftware, generation); err != nil {
		return Canary{}, err
	}
	if c.Seal, err = sealCanaryBlock(ctx, m); err != nil {
		return Canary{}, err
	}
	if c.MAC, err = m.MAC(ctx, c.appendSigned(nil)); err != nil {
		return Canary{}, fmt.Errorf("signing the canary: %w", err)
	}
	return c, nil
}

// Verify tells whether the module holds the root set that made the canary. When it is not, the error wraps [ErrCanary]; an error without it
// means that the module could not be asked.
func (c Canary) Verify(ctx context.Context, m Module) error {
	if err := m.VerifyMAC(ctx, c.appendSigned(nil), c.MAC); err != nil {
		return canaryError("record MAC key", err)
	}
	if err := c.HSM.verify(ctx, m, LevelHSM, c.Generation); err != nil {
		return canaryError("HSM level root", err)
	}
	if err := c.Soft.verify(ctx, m, LevelSoftware, c.Generation); err != nil {
		return canaryError("software level root", err)
	}
	block, err := sealCanaryBlock(ctx, m.Under(c.Generation))
	if err == nil && subtle.ConstantTimeCompare(block, c.Seal) != 1 {
		err = ErrCanary
	}
	if err != nil {
		return canaryError("sealing root", err)
	}
	return nil
}

// Encode returns the stored form: deterministic CBOR.
func (c Canary) Encode() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("preparing to encode a canary: %w", err)
	}
	b, err := mode.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a canary: %w", err)
	}
	return b, nil
}

// DecodeCanary reads what [Canary.Encode] wrote, and nothing else: unknown or
// repeated fields, other encodings of the same values, and bytes behind the
// end are refused.
func DecodeCanary(b []byte) (Canary, error) {
	if len(b) > MaxCanarySize {
		return Canary{}, fmt.Errorf("decoding a canary: %d bytes are more than %d", len(b), MaxCanarySize)
	}
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
	}.DecMode()
	if err != nil {
		return Canary{}, fmt.Errorf("preparing to decode a canary: %w", err)
	}
	var c Canary
	if err := mode.Unmarshal(b, &c); err != nil {
		return Canary{}, fmt.Errorf("decoding a canary: %w", err)
	}
	again, err := c.Encode()
	if err != nil {
		return Canary{}, fmt.Errorf("decoding a canary: %w", err)
	}
	if !bytes.Equal(again, b) {
		return Canary{}, errors.New("decoding a canary: the encoding is not canonical")
	}
	return c, nil
}

func (c Canary) validate() error {
	switch {
	case c.FormatVersion != canaryVersion:
		return fmt.Errorf("canary format %d is not known", c.FormatVersion)
	case len(c.HSM.Blob) == 0 || len(c.HSM.Blob) > 256 || len(c.Soft.Blob) == 0 || len(c.Soft.Blob) > 256:
		return errors.New("a wrapped key of the canary has an impossible length")
	case len(c.HSM.Block) != len(canaryBlock) || len(c.Soft.Block) != len(canaryBlock) || len(c.Seal) != len(canaryBlock):
		return errors.New("a block of the canary has an impossible length")
	case len(c.MAC) != 32:
		return errors.New("the MAC of the canary has an impossible length")
	}
	return nil
}

// appendSigned appends what the record MAC key signs: everything but the MAC.
func (c Canary) appendSigned(dst []byte) []byte {
	dst = appendPrefixed(dst, canaryDomain)
	dst = append(dst, c.Cluster[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Generation))
	for _, part := range [][]byte{c.HSM.Blob, c.HSM.Block, c.Soft.Blob, c.Soft.Block, c.Seal} {
		dst = appendPrefixed(dst, part)
	}
	return dst
}

func newCanaryKey(ctx context.Context, m Module, level Level, generation RootGeneration) (CanaryKey, error) {
	w, err := m.Generate(ctx, level, SpecAES256)
	if err != nil {
		return CanaryKey{}, fmt.Errorf("generating a canary key: %w", err)
	}
	if w.Generation != generation {
		return CanaryKey{}, fmt.Errorf("the canary is of root generation %d, the module uses %d", generation, w.Generation)
	}
	block, err := loadAndEncrypt(ctx, m, w)
	if err != nil {
		return CanaryKey{}, err
	}
	return CanaryKey{Blob: w.Blob, Block: block}, nil
}

func (k CanaryKey) verify(ctx context.Context, m Module, level Level, generation RootGeneration) error {
	block, err := loadAndEncrypt(ctx, m, Wrapped{Level: level, Spec: SpecAES256, Generation: generation, Blob: k.Blob})
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(block, k.Block) != 1 {
		return ErrCanary
	}
	return nil
}

func loadAndEncrypt(ctx context.Context, m Module, w Wrapped) ([]byte, error) {
	key, err := LoadKey(ctx, m, w)
	if err != nil {
		return nil, fmt.Errorf("loading a canary key: %w", err)
	}
	block := make([]byte, len(canaryBlock))
	err = key.EncryptBlocks(ctx, block, []byte(canaryBlock))
	if err = errors.Join(err, key.Close()); err != nil {
		return nil, fmt.Errorf("encrypting the canary block: %w", err)
	}
	return block, nil
}

func sealCanaryBlock(ctx context.Context, m Module) ([]byte, error) {
	key, err := m.Seal(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding the sealing root: %w", err)
	}
	block := make([]byte, len(canaryBlock))
	if err := key.EncryptBlocks(ctx, block, []byte(canaryBlock)); err != nil {
		return nil, fmt.Errorf("encrypting the canary block: %w", err)
	}
	return block, nil
}

// canaryError adds ErrCanary where the roots are wrong, and leaves it out
// where the module merely did not answer: the first calls for an operator, the
// second for another try.
func canaryError(part string, err error) error {
	switch {
	case errors.Is(err, ErrCanary):
		return fmt.Errorf("verifying the canary: %s: %w", part, err)
	case errors.Is(err, ErrMAC), errors.Is(err, ErrUnwrap), errors.Is(err, ErrNoRoots):
		return fmt.Errorf("verifying the canary: %s: %w: %w", part, ErrCanary, err)
	default:
		return fmt.Errorf("verifying the canary: %s: %w", part, err)
	}
}
