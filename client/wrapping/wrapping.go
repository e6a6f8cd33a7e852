// Package wrapping wraps key material for its import into the service: it is
// done where the material is, on a machine without a network if need be, with
// nothing but the parameters that the service gave for the import.
//
//	p, err := c.ImportParameters(ctx, keyID, wrapping.OAEPSHA256) // p is JSON, too
//	w, err := wrapping.Secret(p.Algorithm, p.PublicKey, material) // or PrivateKey
//	err = c.ImportMaterial(ctx, p, w, time.Time{})
//
// The material is the caller's to wipe. The package imports nothing of the
// service and keeps nothing.
package wrapping

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/kwp/subtle"
)

// The wrapping algorithms. A cluster may forbid all but OAEPSHA256: whether
// what was wrapped with PKCS1v15 opens helps who has it to guess what is
// inside, so the service answers it sparingly.
const (
	OAEPSHA256 = "RSAES_OAEP_SHA_256"
	OAEPSHA1   = "RSAES_OAEP_SHA_1"
	PKCS1v15   = "RSAES_PKCS1_V1_5"
)

// Wrapped is material that only the service can open, once, for one key.
type Wrapped struct {
	// Material is one RSA block: of a symmetric key its 32 bytes, of an
	// asymmetric one a key that was made for this import.
	Material []byte `json:"encrypted_key_material,omitempty"`
	// PrivateKey is that of an asymmetric key, PKCS #8 under the key in Material
	// (AES key wrap with padding, RFC 5649).
	PrivateKey []byte `json:"encrypted_privatekey,omitempty"`
}

// Secret wraps the material of a symmetric key. public is the public key of the
// import's parameters.
func Secret(algorithm string, public, secret []byte) (Wrapped, error) {
	to, err := parse(public)
	if err != nil {
		return Wrapped{}, err
	}
	block, err := encrypt(algorithm, to, secret)
	return Wrapped{Material: block}, err
}

// PrivateKey wraps a private key, DER PKCS #8; see [ReadPrivateKey]. public is
// the public key of the import's parameters.
func PrivateKey(algorithm string, public, pkcs8 []byte) (Wrapped, error) {
	to, err := parse(public)
	if err != nil {
		return Wrapped{}, err
	}
	temporary := make([]byte, 32)
	defer clear(temporary)
	rand.Read(temporary) // it does not fail
	block, err := encrypt(algorithm, to, temporary)
	if err != nil {
		return Wrapped{}, err
	}
	wrapper, err := subtle.NewKWP(temporary)
	if err != nil {
		return Wrapped{}, fmt.Errorf("wrapping the private key: %w", err)
	}
	private, err := wrapper.Wrap(pkcs8)
	if err != nil {
		return Wrapped{}, fmt.Errorf("wrapping the private key: %w", err)
	}
	return Wrapped{Material: block, PrivateKey: private}, nil
}

func parse(public []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("reading the wrapping key: %w", err)
	}
	to, is := parsed.(*rsa.PublicKey)
	if !is {
		return nil, errors.New("reading the wrapping key: it is no RSA key")
	}
	return to, nil
}

func encrypt(algorithm string, to *rsa.PublicKey, secret []byte) (block []byte, err error) {
	switch algorithm {
	case OAEPSHA256:
		block, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, to, secret, nil)
	case OAEPSHA1:
		block, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, to, secret, nil)
	case PKCS1v15:
		//lint:ignore SA1019 RSAES_PKCS1_V1_5 is one of the three wrapping algorithms of the guides; ten failures end a token
		block, err = rsa.EncryptPKCS1v15(rand.Reader, to, secret)
	default:
		return nil, fmt.Errorf("the wrapping algorithm %q is not %s, %s or %s", algorithm, OAEPSHA256, OAEPSHA1, PKCS1v15)
	}
	if err != nil {
		return nil, fmt.Errorf("wrapping %d bytes: %w", len(secret), err)
	}
	return block, nil
}
