package pkcs11

import (
	"context"
	"fmt"
	"slices"

	p11 "github.com/miekg/pkcs11"
)

// Some devices refuse a template outright for an attribute that they do not
// know, instead of not keeping it. Keys are then made without that attribute,
// which is a note for the operator: what it forbids is not forbidden there.

// dispensable are the attributes that keys can be made without.
var dispensable = []struct {
	kind uint
	name string
	then string // what is not forbidden without it
}{
	{p11.CKA_WRAP_WITH_TRUSTED, "CKA_WRAP_WITH_TRUSTED", "export keys and roots under a key of their own"},
	{p11.CKA_UNWRAP_TEMPLATE, "CKA_UNWRAP_TEMPLATE", "unwrap stored keys as readable ones"},
	{p11.CKA_COPYABLE, "CKA_COPYABLE", "make weaker copies of keys"},
	{p11.CKA_MODIFIABLE, "CKA_MODIFIABLE", "change what keys may be used for"},
	{p11.CKA_TRUSTED, "CKA_TRUSTED", "wrap roots under keys that nobody has marked"},
}

// learnAttributes finds out which of these the device refuses, and leaves them
// out from then on.
func (m *Module) learnAttributes(ctx context.Context) (notes []string, err error) {
	inner := newNested(template{attribute(p11.CKA_SENSITIVE, true)})
	defer inner.free()
	full := append(newMaterial(uses{wrap: true, unwrap: true}), attribute(p11.CKA_UNWRAP_TEMPLATE, inner.bytes))
	kinds := make([]uint, len(dispensable))
	for i, d := range dispensable {
		kinds[i] = d.kind
	}
	base := withoutKinds(full, kinds)
	var refused []uint
	err = m.dev.call(ctx, m.dev.work, func(s *session) error {
		refused, notes = nil, nil
		if is, err := m.refuses(s, full); err != nil || !is {
			return err
		}
		if is, err := m.refuses(s, base); err != nil || is {
			return err // it is not about these: whoever makes keys will say what it is
		}
		for _, d := range dispensable {
			one := slices.DeleteFunc(slices.Clone(full), func(a *p11.Attribute) bool {
				return a.Type != d.kind && slices.Contains(kinds, a.Type)
			})
			is, err := m.refuses(s, one)
			if err != nil {
				return err
			}
			if is {
				refused = append(refused, d.kind)
				notes = append(notes, fmt.Sprintf("The token refuses keys with %s, so they are made without: whoever has the PIN can %s.", d.name, d.then))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("trying attributes: %w", err)
	}
	if len(refused) > 0 {
		m.refused = refused
		m.dev.api = sparing{m.dev.api, refused}
	}
	return notes, nil
}

// refuses tells whether the device says no to the template; other errors are errors.
func (m *Module) refuses(s *session, t template) (bool, error) {
	key, err := m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_AES_KEY_GEN), t)
	switch {
	case err == nil:
		return false, m.dev.api.DestroyObject(s.handle, key)
	case faultOf(err) == faultNone, hasCode(err, p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED):
		return true, nil
	default:
		return false, err
	}
}

func withoutKinds(t template, kinds []uint) template {
	return slices.DeleteFunc(slices.Clone(t), func(a *p11.Attribute) bool { return slices.Contains(kinds, a.Type) })
}

// sparing is a device that is not told attributes which it refuses.
type sparing struct {
	cryptoki
	refused []uint
}

func (d sparing) CreateObject(s p11.SessionHandle, t []*p11.Attribute) (p11.ObjectHandle, error) {
	return d.cryptoki.CreateObject(s, withoutKinds(t, d.refused))
}

func (d sparing) GenerateKey(s p11.SessionHandle, m []*p11.Mechanism, t []*p11.Attribute) (p11.ObjectHandle, error) {
	return d.cryptoki.GenerateKey(s, m, withoutKinds(t, d.refused))
}

func (d sparing) GenerateKeyPair(s p11.SessionHandle, m []*p11.Mechanism, public, private []*p11.Attribute) (p11.ObjectHandle, p11.ObjectHandle, error) {
	return d.cryptoki.GenerateKeyPair(s, m, withoutKinds(public, d.refused), withoutKinds(private, d.refused))
}

func (d sparing) UnwrapKey(s p11.SessionHandle, m []*p11.Mechanism, under p11.ObjectHandle, wrapped []byte, t []*p11.Attribute) (p11.ObjectHandle, error) {
	return d.cryptoki.UnwrapKey(s, m, under, wrapped, withoutKinds(t, d.refused))
}

func (d sparing) DeriveKey(s p11.SessionHandle, m []*p11.Mechanism, base p11.ObjectHandle, t []*p11.Attribute) (p11.ObjectHandle, error) {
	return d.cryptoki.DeriveKey(s, m, base, withoutKinds(t, d.refused))
}
