package hsm

import (
	"context"
	"encoding/binary"
	"fmt"
)

// bindingDomain begins what is signed for a record. No other message under the
// record MAC key begins with these length-prefixed bytes, so a MAC made for one
// duty never serves another.
const bindingDomain = "raftkms record v1"

// Binding is everything about one key version that must stay together. AES-KWP
// has no associated data, so without this MAC a record could borrow the blob,
// the level or the public key of another.
type Binding struct {
	KeyID      [16]byte       // the UUID of the key
	Version    uint32         // of the key, counted from 1
	Spec       Spec           // of the material
	Usage      string         // what the key may be used for, as the state spells it
	Origin     string         // where the material came from, as the state spells it
	Level      Level          // where the material may be in the clear
	Generation RootGeneration // of the root set that wrapped the blob
	Blob       []byte         // the wrapped material
	PublicKey  []byte         // DER, of an asymmetric key; empty otherwise
}

// AppendBytes appends the canonical form of the binding to dst. Every part of
// variable length carries its length (4 bytes, big endian), so two different
// bindings never have the same bytes.
func (b Binding) AppendBytes(dst []byte) []byte {
	dst = appendPrefixed(dst, bindingDomain)
	dst = append(dst, b.KeyID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, b.Version)
	dst = appendPrefixed(dst, string(b.Spec))
	dst = appendPrefixed(dst, b.Usage)
	dst = appendPrefixed(dst, b.Origin)
	dst = append(dst, byte(b.Level))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.Generation))
	dst = appendPrefixed(dst, b.Blob)
	return appendPrefixed(dst, b.PublicKey)
}

// Bind returns the MAC (32 bytes) that the record of b is stored with, by the
// record MAC key of the generation that wrapped the blob.
func Bind(ctx context.Context, m Module, b Binding) (mac []byte, err error) {
	mac, err = m.Under(b.Generation).MAC(ctx, b.AppendBytes(nil))
	if err != nil {
		return nil, fmt.Errorf("binding a key version: %w", err)
	}
	return mac, nil
}

// VerifyBinding is called before every [Module.Load]. A record that was
// altered, or that borrowed a part of another, gives an error wrapping [ErrMAC].
func VerifyBinding(ctx context.Context, m Module, b Binding, mac []byte) error {
	if err := m.VerifyMAC(ctx, b.AppendBytes(nil), mac); err != nil {
		return fmt.Errorf("verifying the binding of a key version: %w", err)
	}
	return nil
}

func appendPrefixed[T string | []byte](dst []byte, part T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}
