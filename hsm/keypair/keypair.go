package keypair

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"gitlab.com/yawning/secp256k1-voi/secec"

	"github.com/raftkms/raftkms/hsm"
)

// Generate makes a pair in this process. The private key is the caller's to wipe.
func Generate(spec hsm.Spec) (private, public []byte, err error) {
	var key any
	switch spec.Family() {
	case hsm.FamilyRSA:
		key, err = rsa.GenerateKey(rand.Reader, spec.Bits())
	case hsm.FamilyEd25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case hsm.FamilySM2:
		key, err = sm2.GenerateKey(rand.Reader)
	case hsm.FamilyEC:
		if spec == hsm.SpecSECP256K1 {
			key, err = secec.GenerateKey()
		} else {
			key, err = ecdsa.GenerateKey(curveOf(spec), rand.Reader)
		}
	default:
		return nil, nil, fmt.Errorf("making a pair: spec %q: %w", spec, hsm.ErrUnsupported)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making a pair: %w", err)
	}
	if private, err = marshalPrivate(key); err != nil {
		return nil, nil, fmt.Errorf("encoding a private key: %w", err)
	}
	if public, err = encodePublic(key); err != nil {
		clear(private)
		return nil, nil, err
	}
	return private, public, nil
}

func encodePublic(private any) ([]byte, error) {
	key, err := publicOf(private)
	if err != nil {
		return nil, err
	}
	der, err := marshalPublic(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	return der, nil
}

// Public returns the public half of a private key of the spec, or an error
// wrapping [ErrPrivateKey].
func Public(spec hsm.Spec, private []byte) ([]byte, error) {
	key, err := parsePrivate(spec, private)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	return encodePublic(key)
}

// CheckPublic returns an error wrapping [hsm.ErrPublicKey] unless the bytes are
// the public key of a pair of the spec.
func CheckPublic(spec hsm.Spec, public []byte) error {
	_, err := parsePublic(spec, public)
	return err
}

// Encrypt encrypts plaintext to a public key. More than MaxPlaintext bytes are
// an error.
func Encrypt(spec hsm.Spec, public []byte, padding hsm.Padding, label, plaintext []byte) ([]byte, error) {
	key, err := parsePublic(spec, public)
	if err == nil && (!padding.Fits(spec) || len(plaintext) > MaxPlaintext(spec, padding)) {
		err = fmt.Errorf("%d bytes with %s: %w", len(plaintext), padding, hsm.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("encrypting to a public key: %w", err)
	}
	if k, is := key.(*rsa.PublicKey); is {
		return rsa.EncryptOAEP(padding.Hash().New(), rand.Reader, k, plaintext, label)
	}
	return sm2.EncryptASN1(rand.Reader, key.(*ecdsa.PublicKey), plaintext)
}

// MaxPlaintext returns how many bytes keys of the spec encrypt with the
// padding; 0 for what does not fit together.
func MaxPlaintext(spec hsm.Spec, padding hsm.Padding) int {
	switch {
	case !padding.Fits(spec):
		return 0
	case padding.Hash() != 0:
		return spec.Bits()/8 - 2*padding.Hash().Size() - 2
	default:
		return maxSM2Plaintext
	}
}

// maxSM2Plaintext bounds what SM2, which has no limit, is asked for.
const maxSM2Plaintext = 4096

// Decrypt is the inverse of [Encrypt]. Everything wrong with the ciphertext is
// [hsm.ErrDecrypt]. The result is the caller's to wipe.
func Decrypt(spec hsm.Spec, private []byte, padding hsm.Padding, label, ciphertext []byte) ([]byte, error) {
	if !padding.Fits(spec) {
		return nil, fmt.Errorf("decrypting %s with %s: %w", spec, padding, hsm.ErrUnsupported)
	}
	key, err := parsePrivate(spec, private)
	if err != nil {
		return nil, fmt.Errorf("decrypting: %w", err)
	}
	var plaintext []byte
	if k, is := key.(*rsa.PrivateKey); is {
		plaintext, err = rsa.DecryptOAEP(padding.Hash().New(), nil, k, ciphertext, label)
	} else if len(ciphertext) == 0 || ciphertext[0] != 0x30 {
		return nil, hsm.ErrDecrypt // only ASN.1: the other forms have no length
	} else {
		plaintext, err = sm2.Decrypt(key.(*sm2.PrivateKey), ciphertext)
	}
	if err != nil {
		return nil, hsm.ErrDecrypt
	}
	return plaintext, nil
}

// DecryptPKCS1 opens an RSAES-PKCS1-v1_5 block of exactly len(dst) bytes into
// dst, or leaves dst as it is; which of the two takes the same time.
func DecryptPKCS1(spec hsm.Spec, private, dst, ciphertext []byte) error {
	key, err := parsePrivate(spec, private)
	if err != nil {
		return fmt.Errorf("decrypting: %w", err)
	}
	k, is := key.(*rsa.PrivateKey)
	if !is {
		return fmt.Errorf("decrypting %s with RSAES_PKCS1_V1_5: %w", spec, hsm.ErrUnsupported)
	}
	//lint:ignore SA1019 RSAES_PKCS1_V1_5 is one of the three wrapping algorithms of the guides; ten failures end a token
	if err := rsa.DecryptPKCS1v15SessionKey(nil, k, ciphertext, dst); err != nil {
		return hsm.ErrDecrypt // told by the size alone
	}
	return nil
}

// Canonical returns the one encoding of a private key of the spec, which is the
// caller's to wipe, and its public half. The error wraps [ErrPrivateKey].
func Canonical(spec hsm.Spec, private []byte) (canonical, public []byte, err error) {
	key, err := parsePrivate(spec, private)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a private key: %w", err)
	}
	if public, err = encodePublic(key); err != nil {
		return nil, nil, err
	}
	if canonical, err = marshalPrivate(key); err != nil {
		return nil, nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return canonical, public, nil
}

// Agree is elliptic curve Diffie-Hellman: the x coordinate of the common point.
// A peer's key that is not of the spec is [hsm.ErrPublicKey].
func Agree(spec hsm.Spec, private, peer []byte) ([]byte, error) {
	if !spec.Allows(hsm.UseAgree) {
		return nil, fmt.Errorf("agreeing with %s: %w", spec, hsm.ErrUnsupported)
	}
	theirs, err := parsePublic(spec, peer)
	if err != nil {
		return nil, err
	}
	ours, err := parsePrivate(spec, private)
	if err != nil {
		return nil, fmt.Errorf("agreeing: %w", err)
	}
	if k, is := ours.(*secec.PrivateKey); is {
		return k.ECDH(theirs.(*secec.PublicKey))
	}
	a, err := ours.(*ecdsa.PrivateKey).ECDH()
	if err != nil {
		return nil, fmt.Errorf("agreeing: %w", err)
	}
	b, err := theirs.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hsm.ErrPublicKey, err)
	}
	return a.ECDH(b)
}

// Point returns the uncompressed point of an elliptic curve public key.
func Point(spec hsm.Spec, public []byte) ([]byte, error) {
	key, err := parsePublic(spec, public)
	if err != nil {
		return nil, err
	}
	switch k := key.(type) {
	case *secec.PublicKey:
		return k.Bytes(), nil
	case *ecdsa.PublicKey:
		return k.Bytes()
	default:
		return nil, fmt.Errorf("a point of %s: %w", spec, hsm.ErrUnsupported)
	}
}

// FromPoint makes the public key of an uncompressed point, or, for Ed25519, of
// the 32 bytes of one.
func FromPoint(spec hsm.Spec, point []byte) ([]byte, error) {
	var key any
	var err error
	switch {
	case spec == hsm.SpecEd25519 && len(point) == ed25519.PublicKeySize:
		key = ed25519.PublicKey(point)
	case spec == hsm.SpecSECP256K1:
		key, err = secec.NewPublicKey(point)
	case curveOf(spec) != nil:
		key, err = ecdsa.ParseUncompressedPublicKey(curveOf(spec), point)
	default:
		err = fmt.Errorf("%d bytes are no point of %s", len(point), spec)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hsm.ErrPublicKey, err)
	}
	return marshalPublic(key)
}

// FromRSA encodes an RSA public key.
func FromRSA(key *rsa.PublicKey) ([]byte, error) { return marshalPublic(key) }

// Modulus returns the modulus of an RSA public key, as long as its size.
func Modulus(spec hsm.Spec, public []byte) ([]byte, error) {
	key, err := parsePublic(spec, public)
	if err != nil {
		return nil, err
	}
	k, is := key.(*rsa.PublicKey)
	if !is {
		return nil, fmt.Errorf("a modulus of %s: %w", spec, hsm.ErrUnsupported)
	}
	return k.N.FillBytes(make([]byte, k.Size())), nil
}
