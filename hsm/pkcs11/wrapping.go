package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// Material is wrapped with AES-KWP (RFC 5649). A token without it that has AES
// key wrap (RFC 3394) does as well: secret keys are whole semiblocks, and
// private keys, whose DER says where it ends, are filled up with zeros. What one
// wraps the other does not open, so the nodes of a cluster must agree; the
// canary, which is wrapped like everything else, keeps a node out that does not.

// semiblock is what AES key wrap works in, in bytes.
const semiblock = 8

// wholeSemiblocksNote is for the operator of a token without AES-KWP.
const wholeSemiblocksNote = "The token has no AES key wrapping with padding (RFC 5649): CKM_AES_KEY_WRAP on padded material is used instead, " +
	"and every node of the cluster needs a token like this one."

// chooseWrapping takes the best mechanism that there is.
func (m *Module) chooseWrapping(offers func(kind uint) bool) (notes []string, err error) {
	for _, kind := range []uint{mechanismKWP, p11.CKM_AES_KEY_WRAP_PAD, p11.CKM_AES_KEY_WRAP} {
		if !offers(kind) {
			continue
		}
		m.keyWrap = kind
		if m.fillsUp() {
			notes = append(notes, wholeSemiblocksNote)
		}
		return notes, nil
	}
	return nil, fmt.Errorf("%w: the token has no AES key wrapping (CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD or CKM_AES_KEY_WRAP)", hsm.ErrUnsupported)
}

// fillsUp tells whether material must be whole semiblocks.
func (m *Module) fillsUp() bool { return m.keyWrap == p11.CKM_AES_KEY_WRAP }

// filledUp returns material as the token can wrap it, in memory to be wiped.
func (m *Module) filledUp(material []byte) []byte {
	size := len(material)
	if m.fillsUp() {
		size = (size + semiblock - 1) / semiblock * semiblock
	}
	filled := make([]byte, size)
	copy(filled, material)
	return filled
}

// learnWrapping leaves pairs out of the abilities whose private keys do not come
// back from the token as they went: it may neither fill up nor cut off.
func (m *Module) learnWrapping(ctx context.Context, a *abilities) error {
	if !m.fillsUp() {
		return nil
	}
	return m.dev.call(ctx, m.dev.work, func(s *session) error {
		wrapping, err := m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_AES_KEY_GEN), newMaterial(uses{wrap: true, unwrap: true}))
		if err != nil {
			return fmt.Errorf("making a key to try: %w", err)
		}
		for spec := range a.curves {
			comes, err := m.comesBack(s, wrapping, spec)
			if err != nil {
				return err
			}
			if !comes {
				delete(a.curves, spec)
			}
		}
		// The lengths of RSA keys differ from key to key, so one that works proves little.
		clear(a.rsa)
		return m.dev.api.DestroyObject(s.handle, wrapping)
	})
}

// comesBack wraps and unwraps a new private key of the spec.
func (m *Module) comesBack(s *session, wrapping p11.ObjectHandle, spec hsm.Spec) (bool, error) {
	s.stay.slowly()
	public, private, err := m.dev.api.GenerateKeyPair(s.handle, mechanism(pairMechanism(spec)),
		newPublic(keyType(spec), attribute(p11.CKA_EC_PARAMS, m.can.curves[spec].parameters)), newPrivate(keyType(spec), privateUses{}))
	if err != nil {
		return false, fmt.Errorf("making a pair to try: %w", err)
	}
	made := []p11.ObjectHandle{public, private}
	blob, err := m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), wrapping, private)
	if err == nil {
		var back p11.ObjectHandle
		if back, err = m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), wrapping, blob, loadedPrivate(keyType(spec), privateUses{sign: true})); err == nil {
			made = append(made, back)
		}
	}
	comes := err == nil
	if refused(err) {
		err = nil
	}
	for _, o := range made {
		err = errors.Join(err, m.dev.api.DestroyObject(s.handle, o))
	}
	return comes, err
}

// open unwraps a blob. Codes that a device in trouble gives as well as one that
// was handed a bad blob are told apart by wrapping and unwrapping a new key:
// only a token that does that has judged the blob, which it is given once more.
func (m *Module) open(s *session, t *rootTable, under p11.ObjectHandle, w hsm.Wrapped) (p11.ObjectHandle, error) {
	for first := true; ; first = false {
		h, err := m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), under, w.Blob, unwrapsAs(w))
		refused, doubt := unwrapRefused(err)
		switch {
		case !refused:
			return h, err
		case !doubt || !first:
			return 0, fmt.Errorf("%w (%v)", hsm.ErrUnwrap, err)
		}
		if perr := m.wrapsAndUnwraps(s, t, under, w.Generation); perr != nil {
			return 0, errors.Join(perr, err)
		}
	}
}

// wrapsAndUnwraps does with a key of no worth what is done with all.
func (m *Module) wrapsAndUnwraps(s *session, t *rootTable, under p11.ObjectHandle, g hsm.RootGeneration) error {
	if _, err := m.sign(s, t.sets[g][hsm.RecordMAC], []byte("raftkms check")); err != nil {
		return err
	}
	blob, _, err := m.newWrapped(s, under, hsm.SpecAES256)
	if err != nil {
		return err
	}
	h, err := m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), under, blob, loadedMaterial(false))
	if err != nil {
		return err
	}
	return m.dev.api.DestroyObject(s.handle, h)
}
