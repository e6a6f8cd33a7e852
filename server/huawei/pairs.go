package huawei

import (
	"bytes"
	"context"
	"encoding/pem"
	"math"
	"strconv"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// GetPublicKey is get-publickey.
var GetPublicKey = endpoint(kms.OpGetPublicKey, func(ctx context.Context, x *exchange, req *wire.PublicKeyRequest) (reply wire.PublicKeyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	version, err := keyVersion("key_version", req.KeyVersion)
	if err != nil {
		return reply, err
	}
	key, public, err := x.GetPublicKey(ctx, x.call, ref, version)
	if err != nil {
		return reply, err
	}
	return wire.PublicKeyReply{KeyID: key.ID, PublicKey: pemCRLF(public)}, nil
}).with(map[kms.Kind]string{kms.KindSymmetricKey: "KMS.0331"}, nil)

// keyVersion reads the version of an asymmetric key; 0 stands for none.
func keyVersion(member string, v wire.FlexInt) (uint32, error) {
	if v.Set && (v.Value < 1 || v.Value > math.MaxUint32) {
		return 0, invalid(member, "must be the number of a version, from 1")
	}
	return uint32(v.Value), nil
}

// pemCRLF is PEM as the vendor writes it: each line ends with CR and LF.
func pemCRLF(public []byte) string {
	lines := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	return string(bytes.ReplaceAll(lines, []byte("\n"), []byte("\r\n")))
}

// Sign is sign.
var Sign = endpoint(kms.OpSign, func(ctx context.Context, x *exchange, req *wire.SignRequest) (reply wire.SignReply, err error) {
	asked, err := x.signRequest(req)
	if err != nil {
		return reply, err
	}
	reply.KeyID, reply.Signature, err = signed(x.Sign(ctx, x.call, asked))
	return reply, err
})

func signed(keyID string, signature []byte, err error) (string, wire.Base64, error) {
	return keyID, signature, err
}

// Verify is verify. A signature that does not hold is an answer, not an error.
var Verify = endpoint(kms.OpVerify, func(ctx context.Context, x *exchange, req *wire.SignRequest) (reply wire.VerifyReply, err error) {
	asked, err := x.signRequest(req)
	if err != nil {
		return reply, err
	}
	if len(req.Signature) == 0 {
		return reply, missing("signature")
	}
	keyID, valid, err := x.Verify(ctx, x.call, asked)
	if err != nil {
		return reply, err
	}
	return wire.VerifyReply{KeyID: keyID, SignatureValid: strconv.FormatBool(valid)}, nil
})

// signRequest checks what sign and verify have in common.
func (x *exchange) signRequest(req *wire.SignRequest) (asked kms.SignRequest, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return asked, err
	}
	switch {
	case len(req.Message) == 0:
		return asked, missing("message")
	case len(req.Message) >= kms.MaxMessageBytes:
		return asked, refuse("KMS.0203", "The parameter message must have fewer than 4096 bytes.")
	case req.SigningAlgorithm == "":
		return asked, missing("signing_algorithm")
	}
	asked = kms.SignRequest{Key: ref, Scheme: req.SigningAlgorithm, Message: req.Message, Signature: req.Signature}
	switch req.MessageType {
	case "", "DIGEST":
		asked.Digest = true
	case "RAW":
	default:
		return asked, invalid("message_type", "must be DIGEST or RAW")
	}
	asked.Version, err = keyVersion("key_version", req.KeyVersion)
	return asked, err
}

// GenerateMAC is generate-mac.
var GenerateMAC = endpoint(kms.OpGenerateMAC, func(ctx context.Context, x *exchange, req *wire.MACRequest) (reply wire.MACReply, err error) {
	asked, err := x.macRequest(req)
	if err != nil {
		return reply, err
	}
	keyID, mac, err := x.GenerateMAC(ctx, x.call, asked)
	if err != nil {
		return reply, err
	}
	return wire.MACReply{KeyID: keyID, MACAlgorithm: req.MACAlgorithm, MAC: mac}, nil
}).with(map[kms.Kind]string{kms.KindSymmetricKey: "KMS.0331"}, nil)

// VerifyMAC is verify-mac.
var VerifyMAC = endpoint(kms.OpVerifyMAC, func(ctx context.Context, x *exchange, req *wire.MACRequest) (reply wire.VerifyMACReply, err error) {
	asked, err := x.macRequest(req)
	if err != nil {
		return reply, err
	}
	if len(req.MAC) == 0 {
		return reply, missing("mac")
	}
	keyID, valid, err := x.VerifyMAC(ctx, x.call, asked)
	if err != nil {
		return reply, err
	}
	return wire.VerifyMACReply{KeyID: keyID, MACAlgorithm: req.MACAlgorithm, MACValid: valid}, nil
}).with(map[kms.Kind]string{kms.KindSymmetricKey: "KMS.0331"}, nil)

func (x *exchange) macRequest(req *wire.MACRequest) (asked kms.MACRequest, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return asked, err
	}
	switch {
	case req.MACAlgorithm == "":
		return asked, missing("mac_algorithm")
	case len(req.Message) == 0:
		return asked, missing("message")
	case len(req.Message) > kms.MaxMessageBytes:
		return asked, refuse("KMS.0203", "The parameter message must have at most 4096 bytes.")
	}
	return kms.MACRequest{Key: ref, Algorithm: req.MACAlgorithm, Message: req.Message, MAC: req.MAC}, nil
}

// DeriveSharedSecret is derive-shared-secret.
var DeriveSharedSecret = endpoint(kms.OpDeriveSharedSecret, func(ctx context.Context, x *exchange, req *wire.DeriveSharedSecretRequest) (reply wire.DeriveSharedSecretReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	switch {
	case req.KeyAgreementAlgorithm == "":
		return reply, missing("key_agreement_algorithm")
	case req.KeyAgreementAlgorithm != "ECDH":
		return reply, invalid("key_agreement_algorithm", "must be ECDH")
	case len(req.PublicKey) == 0:
		return reply, missing("public_key")
	}
	version, err := keyVersion("key_version", req.KeyVersion)
	if err != nil {
		return reply, err
	}
	keyID, secret, err := x.DeriveSharedSecret(ctx, x.call, ref, version, req.PublicKey)
	if err != nil {
		return reply, err
	}
	return wire.DeriveSharedSecretReply{KeyID: keyID, KeyAgreementAlgorithm: req.KeyAgreementAlgorithm, SharedSecret: secret}, nil
}).with(map[kms.Kind]string{kms.KindSymmetricKey: "KMS.0331"}, nil)
