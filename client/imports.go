package client

import (
	"context"
	"net/http"
	"time"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/server/wire"
)

// ImportParameters are what the material of one key is wrapped with. As JSON
// they can go to the machine that has the material.
type ImportParameters struct {
	KeyID     string `json:"key_id"`
	Algorithm string `json:"wrapping_algorithm"`
	// Token goes back to the service with the material. It may be used more than
	// once until it expires, but ten failures end it.
	Token     []byte    `json:"import_token"`
	PublicKey []byte    `json:"public_key"` // DER SubjectPublicKeyInfo, RSA of 2048 bits
	Expires   time.Time `json:"expires"`    // a day after they were asked for
}

// parametersTimeout bounds one try of asking for parameters: an RSA pair is
// made in a module then, unless one is ready.
const parametersTimeout = 20 * time.Second

// ImportParameters asks for what the material of a key is to be wrapped with,
// by an algorithm of package wrapping. The key was made with the origin
// external and is PendingImport. Each call makes new ones; the last four of a
// key are good.
func (c *Client) ImportParameters(ctx context.Context, key, algorithm string) (ImportParameters, error) {
	request := wire.ImportParametersRequest{KeyID: key, WrappingAlgorithm: algorithm}
	var reply wire.ImportParametersReply
	h := how{method: http.MethodPost, verb: "get-parameters-for-import", longest: parametersTimeout}
	if err := c.callBy(ctx, h, again, request, &reply); err != nil {
		return ImportParameters{}, err
	}
	return ImportParameters{
		KeyID: reply.KeyID, Algorithm: algorithm, Token: reply.ImportToken, PublicKey: reply.PublicKey,
		Expires: time.Unix(reply.ExpirationTime, 0).UTC(),
	}, nil
}

// ImportMaterial gives a key the material that was wrapped with its parameters;
// the key is Enabled then, or Disabled if it was that before its material was
// deleted. At expires (to the second; zero: never) the material of a symmetric
// key is deleted; that of an asymmetric one stays. A key whose material was
// deleted, or has expired, takes the same material again and no other.
//
// Parameters that are of another key, too old or used up are [ErrImportToken],
// material that does not open or is none of the key's spec [ErrMaterial].
func (c *Client) ImportMaterial(ctx context.Context, p ImportParameters, w wrapping.Wrapped, expires time.Time) error {
	request := wire.ImportMaterialRequest{KeyID: p.KeyID, ImportToken: p.Token, EncryptedKeyMaterial: w.Material, EncryptedPrivatekey: w.PrivateKey}
	if !expires.IsZero() {
		request.ExpirationTime = wire.Int(expires.Unix())
	}
	return c.call(ctx, "import-key-material", once, request, new(wire.EmptyReply))
}

// DeleteMaterial takes the imported material from a symmetric key, which is
// PendingImport then: what it has encrypted opens again once the same material
// was imported again. When it returns nil no node uses the key any more.
func (c *Client) DeleteMaterial(ctx context.Context, key string) error {
	return c.call(ctx, "delete-imported-key-material", once, wire.KeyRequest{KeyID: key}, new(wire.EmptyReply))
}

// ImportOptions say how material is imported.
type ImportOptions struct {
	Algorithm string    // of package wrapping; empty: OAEPSHA256
	Expires   time.Time // when the material is deleted; zero: never
}

// ImportSecret gives a symmetric key its material, 32 bytes of AES_256: it asks
// for parameters, wraps here, and imports. The caller wipes the material.
func (c *Client) ImportSecret(ctx context.Context, key string, material []byte, o ImportOptions) error {
	return c.importWrapped(ctx, key, material, o, wrapping.Secret)
}

// ImportPrivateKey gives an asymmetric key its private key, DER PKCS #8; see
// [wrapping.ReadPrivateKey]. The caller wipes it.
func (c *Client) ImportPrivateKey(ctx context.Context, key string, pkcs8 []byte, o ImportOptions) error {
	return c.importWrapped(ctx, key, pkcs8, o, wrapping.PrivateKey)
}

func (c *Client) importWrapped(ctx context.Context, key string, material []byte, o ImportOptions, wrap func(algorithm string, public, material []byte) (wrapping.Wrapped, error)) error {
	if o.Algorithm == "" {
		o.Algorithm = wrapping.OAEPSHA256
	}
	p, err := c.ImportParameters(ctx, key, o.Algorithm)
	if err != nil {
		return err
	}
	w, err := wrap(p.Algorithm, p.PublicKey, material)
	if err != nil {
		return err
	}
	return c.ImportMaterial(ctx, p, w, o.Expires)
}
