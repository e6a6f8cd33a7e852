package huawei

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strconv"

	"github.com/emmansun/gmsm/sm3"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// CreateDataKey is create-datakey: a data key in the clear and sealed.
var CreateDataKey = endpoint(kms.OpCreateDataKey, func(ctx context.Context, x *exchange, req *wire.CreateDataKeyRequest) (wire.CreateDataKeyReply, error) {
	return x.createDataKey(ctx, req, true)
}).with(dataKeyTooLong, dataKeySpec)

// CreateDataKeyWithoutPlaintext is create-datakey-without-plaintext.
var CreateDataKeyWithoutPlaintext = endpoint(kms.OpCreateDataKeyWithoutPlaintext, func(ctx context.Context, x *exchange, req *wire.CreateDataKeyRequest) (wire.CreateDataKeyReply, error) {
	return x.createDataKey(ctx, req, false)
}).with(dataKeyTooLong, dataKeySpec)

// CreateDataKeys is create-datakeys, an extension: up to 1000 data keys, each in
// the clear and sealed, by one request with one signature and one trace.
var CreateDataKeys = endpoint(kms.OpCreateDataKeys, func(ctx context.Context, x *exchange, req *wire.CreateDataKeysRequest) (wire.CreateDataKeysReply, error) {
	return x.createDataKeys(ctx, req, true)
}).with(nil, dataKeySpec)

// CreateDataKeysWithoutPlaintext is create-datakeys-without-plaintext.
var CreateDataKeysWithoutPlaintext = endpoint(kms.OpCreateDataKeysWithoutPlaintext, func(ctx context.Context, x *exchange, req *wire.CreateDataKeysRequest) (wire.CreateDataKeysReply, error) {
	return x.createDataKeys(ctx, req, false)
}).with(nil, dataKeySpec)

// dataKeyTooLong is the code of a data key that an RSA key cannot encrypt.
var dataKeyTooLong = map[kms.Kind]string{kms.KindTooLong: "KMS.1904"}

// dataKeySpec is the code of a data key's spec, which is not that of a key's.
var dataKeySpec = map[string]string{"key_spec": "KMS.1902"}

func (x *exchange) createDataKey(ctx context.Context, req *wire.CreateDataKeyRequest, plaintext bool) (reply wire.CreateDataKeyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	size, err := dataKeyBytes(req)
	if err != nil {
		return reply, err
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	sealed, err := x.CreateDataKey(ctx, x.call, kms.CreateDataKeyRequest{Key: ref, Bytes: size, Context: bound, Plaintext: plaintext})
	if err != nil {
		return reply, err
	}
	return wire.CreateDataKeyReply{KeyID: sealed.KeyID, PlainText: sealed.Plaintext, CipherText: sealed.Ciphertext}, nil
}

func (x *exchange) createDataKeys(ctx context.Context, req *wire.CreateDataKeysRequest, plaintext bool) (reply wire.CreateDataKeysReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	size, err := dataKeyBytes(&req.CreateDataKeyRequest)
	if err != nil {
		return reply, err
	}
	switch {
	case !req.Count.Set:
		return reply, missing("count")
	case req.Count.Value < 1 || req.Count.Value > kms.MaxDataKeys:
		return reply, invalid("count", "must be 1 to 1000")
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	count := int(req.Count.Value)
	sealed, err := x.CreateDataKeys(ctx, x.call, kms.CreateDataKeysRequest{
		CreateDataKeyRequest: kms.CreateDataKeyRequest{Key: ref, Bytes: size, Context: bound, Plaintext: plaintext},
		Count:                count,
	})
	if err != nil {
		return reply, err
	}
	reply = wire.CreateDataKeysReply{KeyID: sealed.KeyID, Datakeys: make([]wire.DataKey, count)}
	each := len(sealed.Ciphertexts) / count
	for i := range reply.Datakeys {
		reply.Datakeys[i].CipherText = sealed.Ciphertexts[i*each : (i+1)*each]
		if plaintext {
			reply.Datakeys[i].PlainText = sealed.Plaintexts[i*size : (i+1)*size]
		}
	}
	return reply, nil
}

// dataKeyBytes is the length of the data key that is asked for: 32 bytes
// unless datakey_length (bits) or else key_spec says otherwise.
func dataKeyBytes(req *wire.CreateDataKeyRequest) (int, error) {
	if length := req.DatakeyLength; length.Set {
		switch {
		case length.Value < 8 || length.Value > 8*kms.MaxDataKeyBytes:
			return 0, invalid("datakey_length", "must be 8 to 8192 bits")
		case length.Value%8 != 0:
			return 0, refuse("KMS.1903", "The parameter datakey_length must be a multiple of 8 bits.")
		}
		return int(length.Value / 8), nil
	}
	switch req.KeySpec {
	case "", "AES_256":
		return 32, nil
	case "AES_128", "SM4":
		return 16, nil
	case "HMAC_256", "HMAC_SM3":
		return 32, nil
	case "HMAC_384":
		return 48, nil
	case "HMAC_512":
		return 64, nil
	}
	return 0, invalid("key_spec", "must be AES_256, AES_128, SM4, HMAC_256, HMAC_384, HMAC_512 or HMAC_SM3")
}

// EncryptDataKey is encrypt-datakey: it seals a data key of the client's. The
// plaintext carries its own SHA-256.
var EncryptDataKey = endpoint(kms.OpEncryptDataKey, func(ctx context.Context, x *exchange, req *wire.EncryptDataKeyRequest) (reply wire.EncryptDataKeyReply, err error) {
	defer clear(req.PlainText)
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	dataKey, digestOf, err := checkedDataKey(req)
	if err != nil {
		return reply, err
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	sealed, err := x.EncryptDataKey(ctx, x.call, kms.EncryptRequest{Key: ref, Plaintext: dataKey, Context: bound})
	if err != nil {
		return reply, err
	}
	if digestOf != digestFor(sealed.Spec) {
		return reply, errDigest()
	}
	return wire.EncryptDataKeyReply{KeyID: sealed.KeyID, CipherText: sealed.Ciphertext, DatakeyLength: strconv.Itoa(len(dataKey))}, nil
}).with(nil, map[string]string{"plain_text": "KMS.2101"})

// digestKind is the hash beside a data key.
type digestKind uint8

const (
	digestSHA256 digestKind = iota
	digestSM3               // under SM4 keys
)

func digestFor(spec string) digestKind {
	if spec == "SM4" {
		return digestSM3
	}
	return digestSHA256
}

func (d digestKind) sum(dataKey []byte) []byte {
	if d == digestSM3 {
		sum := sm3.Sum(dataKey)
		return sum[:]
	}
	sum := sha256.Sum256(dataKey)
	return sum[:]
}

func errDigest() error {
	return refuse("KMS.2103", "The digest at the end of plain_text is not that of the data key.")
}

// checkedDataKey is the data key in front of its digest, if they fit. Which of
// the two hashes it must be only the key tells.
func checkedDataKey(req *wire.EncryptDataKeyRequest) ([]byte, digestKind, error) {
	switch {
	case len(req.PlainText) == 0:
		return nil, 0, missing("plain_text")
	case !req.DatakeyPlainLength.Set:
		return nil, 0, missing("datakey_plain_length")
	}
	length := req.DatakeyPlainLength.Value
	if length < 1 || length > kms.MaxDataKeyBytes {
		return nil, 0, invalid("datakey_plain_length", "must be 1 to 1024 bytes")
	}
	if int64(len(req.PlainText)) != length+sha256.Size {
		return nil, 0, refuse("KMS.2104", "The parameter plain_text must be datakey_plain_length bytes and their SHA-256.")
	}
	dataKey, digest := req.PlainText[:length], req.PlainText[length:]
	for _, kind := range []digestKind{digestSHA256, digestSM3} {
		if subtle.ConstantTimeCompare(kind.sum(dataKey), digest) == 1 {
			return dataKey, kind, nil
		}
	}
	return nil, 0, errDigest()
}

// DecryptDataKey is decrypt-datakey.
var DecryptDataKey = endpoint(kms.OpDecryptDataKey, func(ctx context.Context, x *exchange, req *wire.DecryptDataKeyRequest) (reply wire.DecryptDataKeyReply, err error) {
	ref, err := x.keyRef(req.KeyID)
	if err != nil {
		return reply, err
	}
	length := req.DatakeyCipherLength
	switch {
	case len(req.CipherText) == 0:
		return reply, missing("cipher_text")
	case !length.Set:
		return reply, missing("datakey_cipher_length")
	case length.Value < 1 || length.Value > kms.MaxDataKeyBytes:
		return reply, invalid("datakey_cipher_length", "must be 1 to 1024 bytes, the length of the data key in the clear")
	}
	bound, err := associated(&req.Associated)
	if err != nil {
		return reply, err
	}
	opened, err := x.DecryptDataKey(ctx, x.call, kms.DecryptRequest{Key: ref, Ciphertext: req.CipherText, Context: bound})
	if err != nil {
		return reply, err
	}
	if int64(len(opened.Plaintext)) != length.Value {
		opened.Wipe()
		return reply, refuse("KMS.2204", "The parameter datakey_cipher_length is not the length of the data key in the ciphertext.")
	}
	return wire.DecryptDataKeyReply{
		DataKey:       opened.Plaintext,
		DatakeyLength: strconv.Itoa(len(opened.Plaintext)),
		DatakeyDgst:   digestFor(opened.Spec).sum(opened.Plaintext),
	}, nil
})
