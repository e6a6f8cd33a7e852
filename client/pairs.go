package client

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"strconv"

	"github.com/raftkms/raftkms/server/wire"
)

// PublicKey returns the public half of an asymmetric key as DER
// SubjectPublicKeyInfo, for [crypto/x509.ParsePKIXPublicKey] where it knows the
// curve. version counts from 1; 0: the first.
func (c *Client) PublicKey(ctx context.Context, key string, version int) ([]byte, error) {
	der, _, err := c.publicKey(ctx, key, version)
	return der, err
}

func (c *Client) publicKey(ctx context.Context, key string, version int) (der []byte, keyID string, err error) {
	request := wire.PublicKeyRequest{KeyID: key, Versioned: versioned(version)}
	var reply wire.PublicKeyReply
	if err := c.call(ctx, "get-publickey", again, request, &reply); err != nil {
		return nil, "", err
	}
	block, rest := pem.Decode([]byte(reply.PublicKey))
	if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
		return nil, "", errors.New("get-publickey: the answer is no PEM of a public key")
	}
	return block.Bytes, reply.KeyID, nil
}

// SignOptions say how something is signed.
type SignOptions struct {
	// Algorithm is one of the key's spec: ECDSA_SHA_256 of EC_P256 and
	// SECP256K1, ECDSA_SHA_384 of EC_P384, ECDSA_SHA_512 of EC_P521, SM2DSA_SM3
	// of SM2, ED25519 of ED25519, and of RSA keys RSASSA_PSS_SHA_256, _384, _512
	// and RSASSA_PKCS1_V1_5_SHA_256, _384, _512.
	Algorithm string
	// Raw has the service hash the message, of 1 to 4095 bytes. Without it the
	// message is its digest already, exactly as long as the algorithm's hash; see
	// [SigningHash] and [SM2SigningHash]. ED25519 takes raw messages only.
	Raw bool
	// Version of the key, from 1; 0: the first.
	Version int
}

// Sign signs a message or a digest with an asymmetric key whose usage is
// SIGN_VERIFY. A signature of ECDSA or SM2 is ASN.1 DER, and the salt of a PSS
// one is as long as its hash. A key for something else is [ErrUsage], an
// algorithm of another spec or a digest of another length [ErrAlgorithm].
func (c *Client) Sign(ctx context.Context, key string, message []byte, o SignOptions) ([]byte, error) {
	var reply wire.SignReply
	if err := c.call(ctx, "sign", again, signRequest(key, message, o), &reply); err != nil {
		return nil, err
	}
	return reply.Signature, nil
}

// Verify tells whether a signature is one of the key over the message. One that
// does not hold is an answer and not an error.
func (c *Client) Verify(ctx context.Context, key string, message, signature []byte, o SignOptions) (bool, error) {
	request := signRequest(key, message, o)
	request.Signature = signature
	var reply wire.VerifyReply
	if err := c.call(ctx, "verify", again, request, &reply); err != nil {
		return false, err
	}
	switch reply.SignatureValid {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, errors.New("verify: the answer does not say whether the signature holds: " + strconv.Quote(reply.SignatureValid))
	}
}

func signRequest(key string, message []byte, o SignOptions) wire.SignRequest {
	request := wire.SignRequest{KeyID: key, Message: message, SigningAlgorithm: o.Algorithm, Versioned: versioned(o.Version)}
	if o.Raw {
		request.MessageType = "RAW"
	}
	return request
}

// SigningHash returns the hash that a signing algorithm begins with, so that a
// message of any size can be hashed where it is. It is 0 for ED25519, which
// needs the message, for SM2DSA_SM3, which has [SM2SigningHash], and for what is
// no algorithm.
func SigningHash(algorithm string) crypto.Hash {
	switch algorithm {
	case "ECDSA_SHA_256", "RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256":
		return crypto.SHA256
	case "ECDSA_SHA_384", "RSASSA_PSS_SHA_384", "RSASSA_PKCS1_V1_5_SHA_384":
		return crypto.SHA384
	case "ECDSA_SHA_512", "RSASSA_PSS_SHA_512", "RSASSA_PKCS1_V1_5_SHA_512":
		return crypto.SHA512
	default:
		return 0
	}
}

// GenerateMAC makes the MAC of a message of 1 to 4096 bytes with a key whose
// usage is GENERATE_VERIFY_MAC. The algorithm is the one of the key's spec:
// HMAC_SHA_256 of HMAC_256, HMAC_SHA_384, HMAC_SHA_512, or HMAC_SM3.
func (c *Client) GenerateMAC(ctx context.Context, key string, message []byte, algorithm string) ([]byte, error) {
	request := wire.MACRequest{KeyID: key, MACAlgorithm: algorithm, Message: message}
	var reply wire.MACReply
	if err := c.call(ctx, "generate-mac", again, request, &reply); err != nil {
		return nil, err
	}
	return reply.MAC, nil
}

// VerifyMAC tells whether a MAC is the key's of the message. One that is not is
// an answer and not an error.
func (c *Client) VerifyMAC(ctx context.Context, key string, message, mac []byte, algorithm string) (bool, error) {
	request := wire.MACRequest{KeyID: key, MACAlgorithm: algorithm, Message: message, MAC: mac}
	var reply wire.VerifyMACReply
	if err := c.call(ctx, "verify-mac", again, request, &reply); err != nil {
		return false, err
	}
	return reply.MACValid, nil
}

// DeriveSharedSecret agrees with a peer on a secret, by elliptic curve
// Diffie-Hellman with a key whose usage is KEY_AGREEMENT. peer is the peer's
// public key on the same curve, DER SubjectPublicKeyInfo. The secret is the x
// coordinate, as long as the curve's field: derive keys from it, and do not use
// it as one. The caller wipes it. version counts from 1; 0: the first.
func (c *Client) DeriveSharedSecret(ctx context.Context, key string, peer []byte, version int) ([]byte, error) {
	request := wire.DeriveSharedSecretRequest{KeyID: key, KeyAgreementAlgorithm: "ECDH", PublicKey: peer, Versioned: versioned(version)}
	var reply wire.DeriveSharedSecretReply
	if err := c.call(ctx, "derive-shared-secret", again, request, &reply); err != nil {
		return nil, err
	}
	return reply.SharedSecret, nil
}

// versioned names a version; 0 stands for none.
func versioned(version int) wire.Versioned {
	if version == 0 {
		return wire.Versioned{}
	}
	return wire.Versioned{KeyVersion: wire.Int(int64(version))}
}
