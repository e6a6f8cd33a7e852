package huawei

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// ReEncrypt is re-encrypt.
var ReEncrypt = endpoint(kms.OpReEncrypt, func(ctx context.Context, x *exchange, req *wire.ReEncryptRequest) (reply wire.ReEncryptReply, err error) {
	asked, err := x.reEncryptRequest(req)
	if err != nil {
		return reply, err
	}
	from, to, err := x.ReEncrypt(ctx, x.call, asked)
	if err != nil {
		return reply, err
	}
	reply = wire.ReEncryptReply{
		KeyID:                          to.KeyID,
		SourceKeyID:                    from.KeyID,
		SourceEncryptionAlgorithm:      orSymmetric(req.SourceEncryptionAlgorithm),
		DestinationEncryptionAlgorithm: orSymmetric(req.DestinationEncryptionAlgorithm),
	}
	if asked.DataKey {
		reply.CipherText = strings.ToUpper(hex.EncodeToString(to.Ciphertext))
	} else {
		reply.CipherText = base64.StdEncoding.EncodeToString(to.Ciphertext)
	}
	return reply, nil
}).with(nil, map[string]string{
	"source_key_id": "KMS.0205", "destination_key_id": "KMS.0205", "source_encryption_context": "KMS.0208", "destination_encryption_context": "KMS.0208",
})

func orSymmetric(algorithm string) string {
	if algorithm == "" {
		return kms.AlgorithmSymmetric
	}
	return algorithm
}

// isPairAlgorithm tells whether an encryption algorithm is one of pairs.
func isPairAlgorithm(algorithm string) bool {
	return hsm.Padding(algorithm).Hash() != 0 || algorithm == string(hsm.PaddingSM2)
}

func (x *exchange) reEncryptRequest(req *wire.ReEncryptRequest) (asked kms.ReEncryptRequest, err error) {
	source := ""
	if req.SourceKeyID != "" {
		if source, err = x.keyRefOf("source_key_id", req.SourceKeyID); err != nil {
			return asked, err
		}
	} else if isPairAlgorithm(req.SourceEncryptionAlgorithm) {
		return asked, missing("source_key_id") // a bare block does not name its key
	}
	destination, err := x.keyRefOf("destination_key_id", req.DestinationKeyID)
	if err != nil {
		return asked, err
	}
	if req.CipherText == "" {
		return asked, missing("cipher_text")
	}
	asked.DataKey = req.DatakeyCipherLength.Set
	ciphertext, err := decodeEither(req.CipherText, asked.DataKey)
	if err != nil {
		return asked, invalid("cipher_text", "must be the ciphertext as it was returned")
	}
	from, err := associated(&wire.Associated{EncryptionContext: req.SourceEncryptionContext, AdditionalAuthenticatedData: req.SourceAdditionalAuthenticatedData})
	if err != nil {
		return asked, err
	}
	to, err := associated(&wire.Associated{EncryptionContext: req.DestinationEncryptionContext, AdditionalAuthenticatedData: req.DestinationAdditionalAuthenticatedData})
	if err != nil {
		return asked, err
	}
	sourceVersion, err := keyVersion("source_key_version", req.SourceKeyVersion)
	if err != nil {
		return asked, err
	}
	destinationVersion, err := keyVersion("destination_key_version", req.DestinationKeyVersion)
	if err != nil {
		return asked, err
	}
	asked.Source = kms.DecryptRequest{Key: source, Version: sourceVersion, Ciphertext: ciphertext, Context: from, Algorithm: req.SourceEncryptionAlgorithm}
	asked.Destination = kms.EncryptRequest{Key: destination, Version: destinationVersion, Context: to, Algorithm: req.DestinationEncryptionAlgorithm}
	return asked, nil
}

// decodeEither takes the hex of a data key's ciphertext, or the base64 of data's.
func decodeEither(text string, isHex bool) ([]byte, error) {
	if isHex {
		return hex.DecodeString(text)
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// keyRefOf is keyRef for a member with another name.
func (x *exchange) keyRefOf(member, keyID string) (string, error) {
	if keyID == "" {
		return "", missing(member)
	}
	return x.keyRef(keyID)
}

// CreateRSADataKeyPair is create-rsa-datakey-pair.
var CreateRSADataKeyPair = endpoint(kms.OpCreateRSADataKeyPair, func(ctx context.Context, x *exchange, req *wire.DataKeyPairRequest) (wire.DataKeyPairReply, error) {
	return x.createDataKeyPair(ctx, req, rsaPairs)
})

// CreateECDataKeyPair is create-ec-datakey-pair.
var CreateECDataKeyPair = endpoint(kms.OpCreateECDataKeyPair, func(ctx context.Context, x *exchange, req *wire.DataKeyPairRequest) (wire.DataKeyPairReply, error) {
	return x.createDataKeyPair(ctx, req, ecPairs)
})

// The specs of data key pairs, which have names of their own.
var (
	rsaPairs = map[string]string{"RSA_2048": "RSA_2048", "RSA_3072": "RSA_3072", "RSA_4096": "RSA_4096"}
	ecPairs  = map[string]string{
		"ECC_NIST_P256": "EC_P256", "ECC_NIST_P384": "EC_P384", "ECC_NIST_P521": "EC_P521", "ECC_SECG_P256K1": "SECP256K1", "SM2": "SM2",
	}
)

func (x *exchange) createDataKeyPair(ctx context.Context, req *wire.DataKeyPairRequest, specs map[string]string) (reply wire.DataKeyPairReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	if req.KeySpec == "" {
		return reply, missing("key_spec")
	}
	spec, ok := specs[req.KeySpec]
	if !ok {
		return reply, invalid("key_spec", "must be the spec of a data key pair")
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	plaintext := req.WithPlainText == nil || bool(*req.WithPlainText)
	pair, err := x.CreateDataKeyPair(ctx, x.call, ref, spec, bound, plaintext)
	if err != nil {
		return reply, err
	}
	return wire.DataKeyPairReply{
		KeyID: pair.KeyID, KeySpec: req.KeySpec, PublicKey: pair.PublicKey,
		PrivateKeyCipherText: pair.Ciphertext, PrivateKeyPlainText: pair.Plaintext,
	}, nil
}
