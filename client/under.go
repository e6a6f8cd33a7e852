package client

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/raftkms/raftkms/server/wire"
)

// Under says what something is encrypted under, or is to be.
type Under struct {
	// Key is the id of a CMK, or alias/NAME. A ciphertext of a symmetric key
	// names its key itself, so opening one does without.
	Key string
	// Algorithm of an asymmetric key: RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1 of
	// RSA keys, SM2_ENCRYPT of SM2 keys. Empty: the key is symmetric.
	Algorithm string
	// Version of an asymmetric key, from 1; 0: the first. A ciphertext of an
	// asymmetric key does not say which one it is of.
	Version int
	// Context is bound to the ciphertext of a symmetric key: opening it takes the
	// same one. AAD is the other form, a text of at most 128 bytes, which clients
	// of the vendor bind. At most one of them is given.
	Context map[string]string
	AAD     string
}

func (u *Under) associated() wire.Associated {
	return wire.Associated{EncryptionContext: wire.Context{Map: u.Context}, AdditionalAuthenticatedData: u.AAD}
}

// EncryptDataUnder is [Client.EncryptData] for all that a text can be encrypted
// under. An asymmetric key takes fewer bytes: one of RSA with OAEP and SHA-256
// 190, 318 or 446 by its size. The public key of [Client.PublicKey] encrypts
// as well, without a call and without the restriction to text.
func (c *Client) EncryptDataUnder(ctx context.Context, plaintext []byte, u Under) ([]byte, error) {
	if !utf8.Valid(plaintext) {
		return nil, errors.New("encrypt-data: the plaintext is not UTF-8 text; encode it first")
	}
	request := wire.EncryptDataRequest{
		KeyID: u.Key, Associated: u.associated(), Versioned: versioned(u.Version), PlainText: plaintext, EncryptionAlgorithm: u.Algorithm,
	}
	var reply wire.EncryptDataReply
	if err := c.call(ctx, "encrypt-data", again, request, &reply); err != nil {
		return nil, err
	}
	return reply.CipherText, nil
}

// DecryptDataUnder opens what [Client.EncryptDataUnder] made, or what the public
// key has encrypted. The caller wipes the plaintext.
func (c *Client) DecryptDataUnder(ctx context.Context, ciphertext []byte, u Under) (plaintext []byte, keyID string, err error) {
	request := wire.DecryptDataRequest{
		KeyID: u.Key, Associated: u.associated(), Versioned: versioned(u.Version), CipherText: ciphertext, EncryptionAlgorithm: u.Algorithm,
	}
	var reply wire.DecryptDataReply
	if err := c.decrypt(ctx, "decrypt-data", request, &reply); err != nil {
		return nil, "", err
	}
	clear(reply.PlainText)
	return reply.PlainTextBase64, reply.KeyID, nil
}

// ReEncrypted is a ciphertext that has moved from one key to another.
type ReEncrypted struct {
	Ciphertext []byte
	KeyID      string // of the key that it is under now
	From       string // id of the key that it was under
}

// ReEncryptData moves a ciphertext of [Client.EncryptData] under another key,
// or under the newest version of the same, or to another context. Nobody
// outside the service sees the plaintext.
func (c *Client) ReEncryptData(ctx context.Context, ciphertext []byte, from, to Under) (ReEncrypted, error) {
	request := reEncryptRequest(from, to)
	request.CipherText = base64.StdEncoding.EncodeToString(ciphertext)
	return c.reEncrypt(ctx, request, base64.StdEncoding.Strict().DecodeString)
}

// ReEncryptDataKey is [Client.ReEncryptData] for the ciphertext of a data key of
// so many bytes (0: 32).
func (c *Client) ReEncryptDataKey(ctx context.Context, ciphertext []byte, bytes int, from, to Under) (ReEncrypted, error) {
	if bytes == 0 {
		bytes = defaultDataKeyBytes
	}
	request := reEncryptRequest(from, to)
	request.DatakeyCipherLength = wire.Int(int64(bytes))
	request.CipherText = hex.EncodeToString(ciphertext)
	return c.reEncrypt(ctx, request, hex.DecodeString)
}

func reEncryptRequest(from, to Under) wire.ReEncryptRequest {
	return wire.ReEncryptRequest{
		SourceKeyID: from.Key, SourceEncryptionAlgorithm: from.Algorithm, SourceKeyVersion: versioned(from.Version).KeyVersion,
		SourceEncryptionContext: wire.Context{Map: from.Context}, SourceAdditionalAuthenticatedData: from.AAD,
		DestinationKeyID: to.Key, DestinationEncryptionAlgorithm: to.Algorithm, DestinationKeyVersion: versioned(to.Version).KeyVersion,
		DestinationEncryptionContext: wire.Context{Map: to.Context}, DestinationAdditionalAuthenticatedData: to.AAD,
	}
}

func (c *Client) reEncrypt(ctx context.Context, request wire.ReEncryptRequest, decode func(string) ([]byte, error)) (ReEncrypted, error) {
	var reply wire.ReEncryptReply
	if err := c.call(ctx, "re-encrypt", again, request, &reply); err != nil {
		return ReEncrypted{}, err
	}
	moved, err := decode(reply.CipherText)
	if err != nil {
		return ReEncrypted{}, fmt.Errorf("re-encrypt: reading the ciphertext of the answer: %w", err)
	}
	return ReEncrypted{Ciphertext: moved, KeyID: reply.KeyID, From: reply.SourceKeyID}, nil
}
