package client

import (
	"context"
	"strings"

	"github.com/raftkms/raftkms/server/wire"
)

// DataKeyPair is a pair for use outside the service, whose private half is
// encrypted under a CMK. The caller wipes Private, which is nil when it was not
// asked for.
type DataKeyPair struct {
	KeyID      string // of the CMK
	Spec       string
	Public     []byte // DER SubjectPublicKeyInfo
	Private    []byte // DER PKCS #8
	Ciphertext []byte // of Private: DecryptData opens it
}

// CreateDataKeyPair makes a pair of a spec (RSA_2048, RSA_3072, RSA_4096,
// ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1 or SM2), and
// encrypts its private half under a symmetric CMK. Of the options it takes what
// the ciphertext is bound to: opening it takes the same.
func (c *Client) CreateDataKeyPair(ctx context.Context, key, spec string, o DataKeyOptions) (DataKeyPair, error) {
	return c.createDataKeyPair(ctx, key, spec, o, true)
}

// CreateDataKeyPairWithoutPlaintext makes a pair of whose private half only the
// ciphertext is returned.
func (c *Client) CreateDataKeyPairWithoutPlaintext(ctx context.Context, key, spec string, o DataKeyOptions) (DataKeyPair, error) {
	return c.createDataKeyPair(ctx, key, spec, o, false)
}

func (c *Client) createDataKeyPair(ctx context.Context, key, spec string, o DataKeyOptions, plaintext bool) (DataKeyPair, error) {
	verb := "create-ec-datakey-pair"
	if strings.HasPrefix(spec, "RSA_") {
		verb = "create-rsa-datakey-pair"
	}
	with := wire.FlexBool(plaintext)
	request := wire.DataKeyPairRequest{KeyID: key, KeySpec: spec, Associated: o.associated(), WithPlainText: &with}
	var reply wire.DataKeyPairReply
	if err := c.call(ctx, verb, again, request, &reply); err != nil {
		return DataKeyPair{}, err
	}
	return DataKeyPair{
		KeyID: reply.KeyID, Spec: reply.KeySpec, Public: reply.PublicKey, Private: reply.PrivateKeyPlainText, Ciphertext: reply.PrivateKeyCipherText,
	}, nil
}
