package keypair

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	_ "crypto/sha256" // the hashes of the schemes
	_ "crypto/sha512"

	"github.com/emmansun/gmsm/sm2"
	"gitlab.com/yawning/secp256k1-voi/secec"

	"github.com/raftkms/raftkms/hsm"
)

// Digest makes of a message what the scheme signs. For SM2 the digest covers the
// public key and the usual identity of GB/T 35276; Ed25519 signs the message.
func Digest(spec hsm.Spec, public []byte, scheme hsm.Scheme, message []byte) ([]byte, error) {
	switch {
	case !scheme.Fits(spec):
		return nil, fmt.Errorf("hashing for %s with %s: %w", spec, scheme, hsm.ErrUnsupported)
	case scheme == hsm.SchemeEd25519:
		return message, nil
	case scheme == hsm.SchemeSM2:
		key, err := parsePublic(spec, public)
		if err != nil {
			return nil, err
		}
		return sm2.CalculateSM2Hash(key.(*ecdsa.PublicKey), message, nil)
	}
	h := scheme.Hash().New()
	h.Write(message)
	return h.Sum(nil), nil
}

// checkDigest makes sure that spec, scheme and digest belong together.
func checkDigest(spec hsm.Spec, scheme hsm.Scheme, digest []byte) error {
	if !scheme.Fits(spec) || !scheme.TakesDigest(len(digest)) {
		return fmt.Errorf("%d bytes with %s and %s: %w", len(digest), spec, scheme, hsm.ErrUnsupported)
	}
	return nil
}

// Sign signs a digest, or for Ed25519 the message. The encodings are those of
// [hsm.Signer].
func Sign(spec hsm.Spec, private []byte, scheme hsm.Scheme, digest []byte) ([]byte, error) {
	err := checkDigest(spec, scheme, digest)
	var key any
	if err == nil {
		key, err = parsePrivate(spec, private)
	}
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if scheme.PSS() {
			return rsa.SignPSS(rand.Reader, k, scheme.Hash(), digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(nil, k, scheme.Hash(), digest)
	case *ecdsa.PrivateKey:
		return ecdsa.SignASN1(rand.Reader, k, digest)
	case *sm2.PrivateKey:
		return sm2.SignASN1(rand.Reader, k, digest, nil)
	case *secec.PrivateKey:
		return k.Sign(rand.Reader, digest, secp256k1Options())
	default:
		return ed25519.Sign(key.(ed25519.PrivateKey), digest), nil
	}
}

func secp256k1Options() *secec.ECDSAOptions {
	return &secec.ECDSAOptions{Encoding: secec.EncodingASN1}
}

// Verify tells whether a signature is one over the digest. The error says that
// the question makes no sense, not that the answer is no.
func Verify(spec hsm.Spec, public []byte, scheme hsm.Scheme, digest, signature []byte) (bool, error) {
	err := checkDigest(spec, scheme, digest)
	var key any
	if err == nil {
		key, err = parsePublic(spec, public)
	}
	if err != nil {
		return false, fmt.Errorf("verifying: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if scheme.PSS() {
			return rsa.VerifyPSS(k, scheme.Hash(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil, nil
		}
		return rsa.VerifyPKCS1v15(k, scheme.Hash(), digest, signature) == nil, nil
	case *secec.PublicKey:
		return k.Verify(digest, signature, secp256k1Options()), nil
	case ed25519.PublicKey:
		return ed25519.Verify(k, digest, signature), nil
	default:
		pair := key.(*ecdsa.PublicKey)
		if spec == hsm.SpecSM2 {
			return sm2.VerifyASN1(pair, digest, signature), nil
		}
		return ecdsa.VerifyASN1(pair, digest, signature), nil
	}
}
