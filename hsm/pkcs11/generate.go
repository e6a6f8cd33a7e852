package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/kwp"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// Generate makes the key as session objects, wraps it, and destroys the objects.
// A SOFTWARE level key that the device cannot make is made in the process.
func (m *Module) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	return m.generate(ctx, 0, level, spec)
}

func (m *Module) generate(ctx context.Context, generation hsm.RootGeneration, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	w := hsm.Wrapped{Level: level, Spec: spec}
	root, err := wrappingRoot(level, spec)
	if err == nil {
		err = m.carries(level, spec)
	}
	if err == nil {
		err = m.dev.call(ctx, m.dev.work, func(s *session) error {
			t, err := m.table(s)
			if err != nil {
				return err
			}
			w.Generation = t.pick(generation)
			h, err := t.root(w.Generation, root)
			if err != nil {
				return err
			}
			w.Blob, w.PublicKey, err = m.newWrapped(s, h, spec)
			return err
		})
	}
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("generating a key: %w", err)
	}
	return w, nil
}

// Import has the device wrap material that is in the process for this moment.
func (m *Module) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	return m.importUnder(ctx, 0, level, spec, material)
}

func (m *Module) importUnder(ctx context.Context, generation hsm.RootGeneration, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	defer clear(material)
	w := hsm.Wrapped{Level: level, Spec: spec}
	root, err := wrappingRoot(level, spec)
	if err == nil {
		err = m.carries(level, spec)
	}
	var own []byte
	if err == nil {
		own, w.PublicKey, err = softkey.Imported(spec, material)
		defer clear(own)
	}
	if err == nil {
		err = m.dev.call(ctx, m.dev.work, func(s *session) error {
			t, err := m.table(s)
			if err != nil {
				return err
			}
			w.Generation = t.pick(generation)
			h, err := t.root(w.Generation, root)
			if err != nil {
				return err
			}
			w.Blob, err = m.wrapMaterial(s, h, own)
			return err
		})
	}
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("importing a key: %w", err)
	}
	return w, nil
}

func (m *Module) newWrapped(s *session, root p11.ObjectHandle, spec hsm.Spec) (blob, public []byte, err error) {
	switch {
	case spec.SoftwareOnly(), spec.Pair() && !m.makesPairs(spec):
		material, public, err := softkey.Generate(spec)
		if err != nil {
			return nil, nil, err
		}
		defer clear(material)
		blob, err = m.wrapMaterial(s, root, material)
		return blob, public, err
	case spec.Pair():
		return m.wrapNewPair(s, root, spec)
	}
	var key p11.ObjectHandle
	if spec == hsm.SpecAES256 {
		key, err = m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_AES_KEY_GEN), newMaterial(uses{}))
	} else {
		key, err = m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_GENERIC_SECRET_KEY_GEN), newSecret(spec.Bits()/8))
	}
	if err != nil {
		return nil, nil, err
	}
	blob, err = m.wrapAndDestroy(s, root, key)
	if err == nil && len(blob) != kwp.WrappedSize(spec.Bits()/8) {
		return nil, nil, fmt.Errorf("%w: the token's key wrapping is not that of RFC 5649", hsm.ErrUnsupported)
	}
	return blob, nil, err
}

func (m *Module) wrapAndDestroy(s *session, root, key p11.ObjectHandle) (blob []byte, err error) {
	defer func() { err = errors.Join(err, m.destroyMade(s, key)) }()
	blob, err = m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), root, key)
	if err != nil {
		return nil, fmt.Errorf("wrapping: %w", err)
	}
	return blob, nil
}

// wrapMaterial has the device wrap bytes of this process.
func (m *Module) wrapMaterial(s *session, root p11.ObjectHandle, material []byte) ([]byte, error) {
	t := newNested(newSecret(0))
	defer t.free()
	filled := m.filledUp(material)
	defer clear(filled)
	key, err := m.dev.api.CreateSecret(s.handle, t, filled)
	if err != nil {
		return nil, fmt.Errorf("handing material to the token: %w", err)
	}
	return m.wrapAndDestroy(s, root, key)
}
