package client

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
)

// held is one version of an asymmetric key of the service, as the standard
// library wants keys: without a context in its calls.
type held struct {
	c       *Client
	ctx     context.Context // of every call, since the interfaces have no room for one
	id      string          // not an alias, which may be pointed elsewhere
	version int
	public  crypto.PublicKey
}

func (c *Client) hold(ctx context.Context, key string, version int) (held, error) {
	der, id, err := c.publicKey(ctx, key, version)
	if err != nil {
		return held{}, err
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return held{}, fmt.Errorf("the standard library has no keys like this one: %w", err)
	}
	return held{c: c, ctx: ctx, id: id, version: version, public: public}, nil
}

// Public returns the public half.
func (h *held) Public() crypto.PublicKey { return h.public }

// Signer is a key of the service as a [crypto.Signer]: with it the standard
// library makes certificates and requests for them, serves TLS, and others sign
// tokens, while the private key stays where it is. Each signature is a call.
type Signer struct{ held }

// Signer returns a version (from 1; 0: the first) of a key whose usage is
// SIGN_VERIFY, of a spec of RSA, ED25519, or EC on a NIST curve. ctx is that of
// the signatures, too.
func (c *Client) Signer(ctx context.Context, key string, version int) (*Signer, error) {
	h, err := c.hold(ctx, key, version)
	if err != nil {
		return nil, err
	}
	return &Signer{h}, nil
}

// Sign signs a digest; an ED25519 key signs the message itself, of at most 4095
// bytes. Hashes are SHA-256, SHA-384 and SHA-512, and with a curve the one of
// its size. With [rsa.PSSOptions] the salt is as long as the hash. The reader
// is not used.
func (s *Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	o := SignOptions{Version: s.version}
	var err error
	if o.Algorithm, o.Raw, err = algorithmFor(s.public, opts); err != nil {
		return nil, err
	}
	return s.c.Sign(s.ctx, s.id, digest, o)
}

// algorithmFor is the algorithm that a caller of the standard library means.
func algorithmFor(public crypto.PublicKey, opts crypto.SignerOpts) (algorithm string, raw bool, err error) {
	hash := opts.HashFunc()
	size := map[crypto.Hash]string{crypto.SHA256: "256", crypto.SHA384: "384", crypto.SHA512: "512"}[hash]
	switch key := public.(type) {
	case ed25519.PublicKey:
		if o, is := opts.(*ed25519.Options); hash == 0 && (!is || o.Context == "") {
			return "ED25519", true, nil
		}
	case *ecdsa.PublicKey:
		if own := map[elliptic.Curve]string{elliptic.P256(): "256", elliptic.P384(): "384", elliptic.P521(): "512"}[key.Curve]; size != "" && own == size {
			return "ECDSA_SHA_" + size, false, nil
		}
	case *rsa.PublicKey:
		pss, is := opts.(*rsa.PSSOptions)
		switch {
		case size == "":
		case !is:
			return "RSASSA_PKCS1_V1_5_SHA_" + size, false, nil
		case slices.Contains([]int{rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, hash.Size()}, pss.SaltLength):
			return "RSASSA_PSS_SHA_" + size, false, nil
		}
	}
	return "", false, fmt.Errorf("%w: the service does not sign like this with a %T (hash %v)", ErrAlgorithm, public, hash)
}

// Decrypter is an RSA key of the service as a [crypto.Decrypter]. Each
// decryption is a call.
type Decrypter struct{ held }

// Decrypter returns a version (from 1; 0: the first) of an RSA key whose usage
// is ENCRYPT_DECRYPT. ctx is that of the decryptions, too.
func (c *Client) Decrypter(ctx context.Context, key string, version int) (*Decrypter, error) {
	h, err := c.hold(ctx, key, version)
	if err != nil {
		return nil, err
	}
	return &Decrypter{h}, nil
}

// Decrypt opens what was encrypted to the public key by OAEP with SHA-256 or
// SHA-1, without a label: opts is an [rsa.OAEPOptions]. The reader is not used.
func (d *Decrypter) Decrypt(_ io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	u := Under{Key: d.id, Version: d.version}
	if oaep, is := opts.(*rsa.OAEPOptions); is && len(oaep.Label) == 0 && (oaep.MGFHash == 0 || oaep.MGFHash == oaep.Hash) {
		u.Algorithm = map[crypto.Hash]string{crypto.SHA256: "RSAES_OAEP_SHA_256", crypto.SHA1: "RSAES_OAEP_SHA_1"}[oaep.Hash]
	}
	if u.Algorithm == "" {
		return nil, fmt.Errorf("%w: the service decrypts OAEP with SHA-256 or SHA-1, without a label", ErrAlgorithm)
	}
	plaintext, _, err := d.c.DecryptDataUnder(d.ctx, ciphertext, u)
	return plaintext, err
}

// KeyExchanger is a key of the service as an [ecdh.KeyExchanger]. Each exchange
// is a call.
type KeyExchanger struct {
	held
	public *ecdh.PublicKey
}

// KeyExchanger returns a version (from 1; 0: the first) of a key whose usage is
// KEY_AGREEMENT, on a NIST curve. ctx is that of the exchanges, too.
func (c *Client) KeyExchanger(ctx context.Context, key string, version int) (*KeyExchanger, error) {
	h, err := c.hold(ctx, key, version)
	if err != nil {
		return nil, err
	}
	point, is := h.public.(*ecdsa.PublicKey)
	if !is {
		return nil, fmt.Errorf("%w: a %T agrees on no secrets", ErrUsage, h.public)
	}
	public, err := point.ECDH()
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return &KeyExchanger{h, public}, nil
}

// PublicKey returns the public half.
func (k *KeyExchanger) PublicKey() *ecdh.PublicKey { return k.public }

// Curve returns the curve.
func (k *KeyExchanger) Curve() ecdh.Curve { return k.public.Curve() }

// ECDH agrees with a peer on a secret, which the caller wipes.
func (k *KeyExchanger) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	if peer.Curve() != k.Curve() {
		return nil, errors.New("the peer's key is on another curve")
	}
	der, err := x509.MarshalPKIXPublicKey(peer)
	if err != nil {
		return nil, fmt.Errorf("encoding the peer's public key: %w", err)
	}
	return k.c.DeriveSharedSecret(k.ctx, k.id, der, k.version)
}
