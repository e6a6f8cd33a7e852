package pkcs11

import (
	"context"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// Mechanisms and key types of PKCS#11 v3.0 that miekg/pkcs11 has no name for.
const (
	mechanismEdwardsPair = 0x1055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	mechanismEdDSA       = 0x1057 // CKM_EDDSA
	keyTypeEdwards       = 0x40   // CKK_EC_EDWARDS
)

// abilities is what the device does with keys of each spec. It is learnt when
// the module is opened, by trying, and not changed afterwards.
type abilities struct {
	curves map[hsm.Spec]curve
	rsa    map[hsm.Spec]bool // pairs of that size are made
	raw    bool              // CKM_RSA_X_509
	pkcs1  bool              // CKM_RSA_PKCS
	oaep   map[oaepWay]bool  // CKM_RSA_PKCS_OAEP as asked for
	pss    map[crypto.Hash]bool
	hmac   map[hsm.Spec]uint // the mechanism
}

// curve is how the device wants to be spoken to about one.
type curve struct {
	parameters []byte // CKA_EC_PARAMS
	agrees     bool   // CKM_ECDH1_DERIVE works
	pointDER   bool   // and takes the peer's point as an OCTET STRING
}

// oaepWay is a hash, with a label or without: some devices know no labels.
type oaepWay struct {
	hash     crypto.Hash
	labelled bool
}

// hashes are the numbers that PKCS#11 has for a hash.
var hashes = map[crypto.Hash]struct{ hash, mgf uint }{
	crypto.SHA1:   {p11.CKM_SHA_1, p11.CKG_MGF1_SHA1},
	crypto.SHA256: {p11.CKM_SHA256, p11.CKG_MGF1_SHA256},
	crypto.SHA384: {p11.CKM_SHA384, p11.CKG_MGF1_SHA384},
	crypto.SHA512: {p11.CKM_SHA512, p11.CKG_MGF1_SHA512},
}

func oaepMechanism(hash crypto.Hash, label []byte) []*p11.Mechanism {
	numbers := hashes[hash]
	return []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP,
		p11.NewOAEPParams(numbers.hash, numbers.mgf, p11.CKZ_DATA_SPECIFIED, label))}
}

func pssMechanism(hash crypto.Hash) []*p11.Mechanism {
	numbers := hashes[hash]
	return []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_PSS, p11.NewPSSParams(numbers.hash, numbers.mgf, uint(hash.Size())))}
}

// The named curves, and besides the name that PKCS#11 v3.0 gives Ed25519.
var curveParameters = map[hsm.Spec][]any{
	hsm.SpecECP256:    {asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}},
	hsm.SpecECP384:    {asn1.ObjectIdentifier{1, 3, 132, 0, 34}},
	hsm.SpecECP521:    {asn1.ObjectIdentifier{1, 3, 132, 0, 35}},
	hsm.SpecSECP256K1: {asn1.ObjectIdentifier{1, 3, 132, 0, 10}},
	hsm.SpecEd25519:   {asn1.ObjectIdentifier{1, 3, 101, 112}, "edwards25519"},
}

// learn finds out what the device does with asymmetric and MAC keys. What it
// refuses is not an error; what makes it fail is.
func (m *Module) learn(ctx context.Context, offers func(kind uint) bool) error {
	a := &abilities{
		curves: make(map[hsm.Spec]curve), rsa: make(map[hsm.Spec]bool), hmac: make(map[hsm.Spec]uint),
		oaep: make(map[oaepWay]bool), pss: make(map[crypto.Hash]bool),
		raw: offers(p11.CKM_RSA_X_509), pkcs1: offers(p11.CKM_RSA_PKCS),
	}
	for spec, kind := range map[hsm.Spec]uint{
		hsm.SpecHMAC256: p11.CKM_SHA256_HMAC, hsm.SpecHMAC384: p11.CKM_SHA384_HMAC, hsm.SpecHMAC512: p11.CKM_SHA512_HMAC,
	} {
		if offers(kind) {
			a.hmac[spec] = kind
		}
	}
	err := m.dev.call(ctx, m.dev.work, func(s *session) error {
		if offers(p11.CKM_RSA_PKCS_KEY_PAIR_GEN) {
			if err := m.learnRSA(s, a, offers); err != nil {
				return err
			}
		}
		wrapping, err := m.dev.api.GenerateKey(s.handle, mechanism(p11.CKM_AES_KEY_GEN), newMaterial(uses{wrap: true}))
		if err != nil {
			return fmt.Errorf("making a key to try: %w", err)
		}
		for spec, all := range curveParameters {
			if !offers(pairMechanism(spec)) || !offers(signMechanism(spec)) {
				continue
			}
			for _, value := range all {
				parameters, err := marshalParameters(value)
				if err != nil {
					return err
				}
				c, works, err := m.tryCurve(s, spec, parameters, wrapping, offers(p11.CKM_ECDH1_DERIVE))
				if err != nil {
					return err
				}
				if works {
					a.curves[spec] = c
					break
				}
			}
		}
		return m.dev.api.DestroyObject(s.handle, wrapping)
	})
	if err != nil {
		return fmt.Errorf("learning what the token does with pairs: %w", err)
	}
	m.can = a
	if err := m.learnWrapping(ctx, a); err != nil {
		return fmt.Errorf("learning how the token wraps: %w", err)
	}
	return nil
}

func marshalParameters(value any) ([]byte, error) {
	if name, is := value.(string); is {
		return asn1.MarshalWithParams(name, "printable")
	}
	return asn1.Marshal(value)
}

// refused tells an answer from a failure of the device: a curve or parameter
// that it does not know. Codes that a device in trouble gives are no answer.
func refused(err error) bool {
	return err != nil && (faultOf(err) == faultNone ||
		hasCode(err, p11.CKR_CURVE_NOT_SUPPORTED, p11.CKR_DOMAIN_PARAMS_INVALID, p11.CKR_FUNCTION_FAILED, p11.CKR_GENERAL_ERROR))
}

// tryModulus is that of an RSA key which nobody has: what is tried with it is
// whether the device takes the parameters of OAEP and PSS.
var tryModulus = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 2048), big.NewInt(1942289))

func (m *Module) learnRSA(s *session, a *abilities, offers func(kind uint) bool) error {
	info, err := m.dev.api.GetMechanismInfo(m.dev.slot, mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN))
	if err != nil {
		return fmt.Errorf("asking for the sizes of RSA keys: %w", err)
	}
	for _, spec := range []hsm.Spec{hsm.SpecRSA2048, hsm.SpecRSA3072, hsm.SpecRSA4096} {
		a.rsa[spec] = info.MaxKeySize == 0 || info.MaxKeySize >= uint(spec.Bits())
	}
	public, err := m.dev.api.CreateObject(s.handle, with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, false),
		attribute(p11.CKA_MODULUS, tryModulus.Bytes()),
		attribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
		attribute(p11.CKA_ENCRYPT, true),
		attribute(p11.CKA_VERIFY, true),
	}, lasting()))
	if refused(err) {
		return nil // then padding is always done in the process
	}
	if err != nil {
		return err
	}
	if offers(p11.CKM_RSA_PKCS_OAEP) {
		for _, way := range []oaepWay{{crypto.SHA1, false}, {crypto.SHA1, true}, {crypto.SHA256, false}, {crypto.SHA256, true}} {
			if a.oaep[way], err = m.tryOAEP(s, public, way); err != nil {
				return err
			}
		}
	}
	if offers(p11.CKM_RSA_PKCS_PSS) {
		for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			if a.pss[hash], err = m.tryPSS(s, public, hash); err != nil {
				return err
			}
		}
	}
	return m.dev.api.DestroyObject(s.handle, public)
}

func (m *Module) tryOAEP(s *session, public p11.ObjectHandle, way oaepWay) (bool, error) {
	var label []byte
	if way.labelled {
		label = []byte("raftkms")
	}
	err := m.dev.api.EncryptInit(s.handle, oaepMechanism(way.hash, label), public)
	if err == nil {
		_, err = m.dev.api.EncryptInto(s.handle, make([]byte, 256), []byte("raftkms check"))
	}
	if refused(err) {
		return false, nil
	}
	return err == nil, err
}

func (m *Module) tryPSS(s *session, public p11.ObjectHandle, hash crypto.Hash) (bool, error) {
	err := m.dev.api.VerifyInit(s.handle, pssMechanism(hash), public)
	if refused(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// The signature is none; what counts is that the question is understood.
	err = m.dev.api.Verify(s.handle, make([]byte, hash.Size()), make([]byte, 256))
	if hasCode(err, p11.CKR_SIGNATURE_INVALID, p11.CKR_SIGNATURE_LEN_RANGE) {
		return true, nil
	}
	if refused(err) {
		return false, nil
	}
	return false, err
}

// tryCurve makes a pair, signs, agrees on a secret with itself, and wraps: a key
// that cannot be wrapped is of no use, and SoftHSM 2.6.1 has such (Ed25519).
func (m *Module) tryCurve(s *session, spec hsm.Spec, parameters []byte, wrapping p11.ObjectHandle, derive bool) (c curve, works bool, err error) {
	c.parameters = parameters
	kind := keyType(spec)
	s.stay.slowly()
	public, private, err := m.dev.api.GenerateKeyPair(s.handle, mechanism(pairMechanism(spec)),
		newPublic(kind, attribute(p11.CKA_EC_PARAMS, parameters)), newPrivate(kind, privateUses{sign: true, derive: derive && spec.Allows(hsm.UseAgree)}))
	if refused(err) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	defer func() {
		err = errors.Join(err, m.dev.api.DestroyObject(s.handle, public), m.dev.api.DestroyObject(s.handle, private))
	}()
	der, err := m.readPair(s, spec, public)
	if err == nil {
		var signature []byte
		if signature, err = m.signWith(s, private, mechanism(signMechanism(spec)), make([]byte, 32)); err == nil && len(signature) != signatureSize(spec) {
			return c, false, nil
		}
	}
	if err == nil {
		_, err = m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), wrapping, private)
	}
	if errors.Is(err, hsm.ErrPublicKey) || refused(err) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	if !derive || !spec.Allows(hsm.UseAgree) {
		return c, true, nil
	}
	for _, asDER := range []bool{false, true} {
		c.pointDER = asDER
		secret, err := m.agreeWith(s, private, spec, c, der)
		clear(secret)
		if err == nil {
			c.agrees = true
			return c, true, nil
		}
		if !refused(err) {
			return c, false, err
		}
	}
	return c, true, nil
}
