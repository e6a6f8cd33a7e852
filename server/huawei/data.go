package huawei

import (
	"context"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// EncryptData is encrypt-data: 1 to 4096 bytes of text.
var EncryptData = endpoint(kms.OpEncryptData, func(ctx context.Context, x *exchange, req *wire.EncryptDataRequest) (reply wire.EncryptDataReply, err error) {
	defer clear(req.PlainText)
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	switch {
	case len(req.PlainText) == 0:
		return reply, missing("plain_text")
	case len(req.PlainText) > kms.MaxDataBytes:
		return reply, invalid("plain_text", "must have at most 4096 bytes")
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	version, err := keyVersion("key_version", req.KeyVersion)
	if err != nil {
		return reply, err
	}
	sealed, err := x.EncryptData(ctx, x.call, kms.EncryptRequest{Key: ref, Version: version, Plaintext: req.PlainText, Context: bound, Algorithm: req.EncryptionAlgorithm})
	if err != nil {
		return reply, err
	}
	return wire.EncryptDataReply{KeyID: sealed.KeyID, CipherText: sealed.Ciphertext}, nil
})

// DecryptData is decrypt-data. The ciphertext names its key; a key_id that is
// given must be of the same one.
var DecryptData = endpoint(kms.OpDecryptData, func(ctx context.Context, x *exchange, req *wire.DecryptDataRequest) (reply wire.DecryptDataReply, err error) {
	ref := ""
	if req.KeyID != "" {
		if ref, err = x.keyRef(req.KeyID); err != nil {
			return reply, err
		}
	}
	if len(req.CipherText) == 0 {
		return reply, missing("cipher_text")
	}
	if ref == "" && isPairAlgorithm(req.EncryptionAlgorithm) {
		return reply, missing("key_id") // a bare block does not name its key
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	version, err := keyVersion("key_version", req.KeyVersion)
	if err != nil {
		return reply, err
	}
	opened, err := x.DecryptData(ctx, x.call, kms.DecryptRequest{Key: ref, Version: version, Ciphertext: req.CipherText, Context: bound, Algorithm: req.EncryptionAlgorithm})
	if err != nil {
		return reply, err
	}
	return wire.DecryptDataReply{KeyID: opened.KeyID, PlainText: opened.Plaintext, PlainTextBase64: opened.Plaintext}, nil
})

// GenerateRandom is gen-random: 8 to 8192 bits in whole bytes.
var GenerateRandom = endpoint(kms.OpGenerateRandom, func(ctx context.Context, x *exchange, req *wire.RandomRequest) (reply wire.RandomReply, err error) {
	bits := req.RandomDataLength
	switch {
	case !bits.Set:
		return reply, missing("random_data_length")
	case bits.Value < 8 || bits.Value > 8*kms.MaxRandomBytes || bits.Value%8 != 0:
		return reply, invalid("random_data_length", "must be 8 to 8192 bits and a multiple of 8")
	}
	drawn, err := x.GenerateRandom(ctx, x.call, int(bits.Value/8))
	if err != nil {
		return reply, err
	}
	return wire.RandomReply{RandomData: drawn}, nil
})
