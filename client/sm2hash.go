package client

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"hash"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"
)

// SM2SigningHash returns the hash that SM2DSA_SM3 begins with (GB/T 32918.2: SM3
// over who the signer is, by the usual id and the public key, and the message),
// so that a message of any size can be hashed where it is. The sum is what
// [Client.Sign] and [Client.Verify] take for it without Raw. publicKey is the
// one that [Client.PublicKey] returns; another than an SM2 key is an error.
func SM2SigningHash(publicKey []byte) (hash.Hash, error) {
	parsed, err := smx509.ParsePKIXPublicKey(publicKey)
	if err != nil {
		return nil, fmt.Errorf("reading an SM2 public key: %w", err)
	}
	point, is := parsed.(*ecdsa.PublicKey)
	if !is || !sm2.IsSM2PublicKey(point) {
		return nil, errors.New("reading an SM2 public key: it is one of another algorithm")
	}
	return sm2.NewHash(point)
}
