package pkcs11

import (
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// makesPairs tells whether the device generates pairs of the spec itself.
func (m *Module) makesPairs(spec hsm.Spec) bool {
	if spec.Family() == hsm.FamilyRSA {
		return m.can.rsa[spec]
	}
	_, is := m.can.curves[spec]
	return is
}

// generatePair makes a pair of session objects, which the caller destroys.
func (m *Module) generatePair(s *session, spec hsm.Spec) (public, private p11.ObjectHandle, err error) {
	kind := keyType(spec)
	var parameters template
	if spec.Family() == hsm.FamilyRSA {
		parameters = template{attribute(p11.CKA_MODULUS_BITS, spec.Bits()), attribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1})}
	} else {
		parameters = template{attribute(p11.CKA_EC_PARAMS, m.can.curves[spec].parameters)}
	}
	s.stay.slowly() // RSA_4096 takes a device many seconds
	return m.dev.api.GenerateKeyPair(s.handle, mechanism(pairMechanism(spec)), newPublic(kind, parameters...), newPrivate(kind, privateUses{}))
}

// wrapNewPair makes a pair, wraps its private half and destroys both.
func (m *Module) wrapNewPair(s *session, root p11.ObjectHandle, spec hsm.Spec) (blob, public []byte, err error) {
	publicHandle, privateHandle, err := m.generatePair(s, spec)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		err = errors.Join(err, m.destroyMade(s, privateHandle), m.destroyMade(s, publicHandle))
	}()
	if public, err = m.readPair(s, spec, publicHandle); err != nil {
		return nil, nil, err
	}
	blob, err = m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), root, privateHandle)
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping: %w", err)
	}
	return blob, public, nil
}

func (m *Module) destroyMade(s *session, o p11.ObjectHandle) error {
	if err := m.dev.api.DestroyObject(s.handle, o); err != nil {
		return fmt.Errorf("destroying the key that was wrapped: %w", err)
	}
	return nil
}

func pairMechanism(spec hsm.Spec) uint {
	switch spec.Family() {
	case hsm.FamilyRSA:
		return p11.CKM_RSA_PKCS_KEY_PAIR_GEN
	case hsm.FamilyEd25519:
		return mechanismEdwardsPair
	default:
		return p11.CKM_EC_KEY_PAIR_GEN
	}
}

// signMechanism is of the curves.
func signMechanism(spec hsm.Spec) uint {
	if spec == hsm.SpecEd25519 {
		return mechanismEdDSA
	}
	return p11.CKM_ECDSA
}

func keyType(spec hsm.Spec) uint {
	switch spec.Family() {
	case hsm.FamilyRSA:
		return p11.CKK_RSA
	case hsm.FamilyEd25519:
		return keyTypeEdwards
	default:
		return p11.CKK_EC
	}
}

// signatureSize is of what the device gives for a curve: two numbers of the
// size of the field.
func signatureSize(spec hsm.Spec) int { return 2 * fieldSize(spec) }

func fieldSize(spec hsm.Spec) int { return (spec.Bits() + 7) / 8 }

// readPair reads the public half of a pair as SubjectPublicKeyInfo.
func (m *Module) readPair(s *session, spec hsm.Spec, public p11.ObjectHandle) (der []byte, err error) {
	if spec.Family() == hsm.FamilyRSA {
		parts, err := m.dev.api.GetAttributeValue(s.handle, public,
			template{attribute(p11.CKA_MODULUS, nil), attribute(p11.CKA_PUBLIC_EXPONENT, nil)})
		if err != nil {
			return nil, fmt.Errorf("reading the public key: %w", err)
		}
		exponent := new(big.Int).SetBytes(parts[1].Value)
		if exponent.BitLen() > 31 {
			return nil, fmt.Errorf("%w: the exponent is too large", hsm.ErrPublicKey)
		}
		der, err = keypair.FromRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(parts[0].Value), E: int(exponent.Int64())})
		if err != nil {
			return nil, err
		}
		return der, keypair.CheckPublic(spec, der)
	}
	parts, err := m.dev.api.GetAttributeValue(s.handle, public, template{attribute(p11.CKA_EC_POINT, nil)})
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	point := parts[0].Value
	var inner []byte
	if rest, err := asn1.Unmarshal(point, &inner); err == nil && len(rest) == 0 {
		point = inner // as the standard wants it; some devices give the bare point
	}
	return keypair.FromPoint(spec, point)
}

// privateUsesOf is what a loaded private key is allowed.
func privateUsesOf(use hsm.Use) privateUses {
	return privateUses{decrypt: use == hsm.UseEncrypt, sign: use == hsm.UseSign, derive: use == hsm.UseAgree}
}

// loadedAs is the template with which material of HSM level is unwrapped.
func loadedAs(spec hsm.Spec, use hsm.Use) template {
	switch spec.Family() {
	case hsm.FamilyAES:
		return loadedMaterial(false)
	case hsm.FamilyHMAC:
		return loadedSecret(false)
	default:
		return loadedPrivate(keyType(spec), privateUsesOf(use))
	}
}
