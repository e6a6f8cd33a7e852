package huaweitest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

var dataSteps = []step{
	{"CreateRandom", func(s *story) {
		reply, err := s.kms.CreateRandom(&model.CreateRandomRequest{Body: &model.GenRandomRequestBody{RandomDataLength: "512"}})
		s.done(err, reply, 200)
		s.upperHex(at(reply.RandomData), 64)
	}},
	{"CreateDatakey", func(s *story) {
		reply, err := s.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{
			KeyId: s.keys["data"], DatakeyLength: pointer("512"), AdditionalAuthenticatedData: pointer("bound"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.upperHex(at(reply.PlainText), 64)
		s.upperHex(at(reply.CipherText), 0)
		s.dataKey = reply
	}},
	{"CreateDatakeyWithoutPlaintext", func(s *story) {
		reply, err := s.kms.CreateDatakeyWithoutPlaintext(&model.CreateDatakeyWithoutPlaintextRequest{Body: &model.CreateDatakeyRequestBody{KeyId: s.keys["data"]}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.upperHex(at(reply.CipherText), 0)
	}},
	{"DecryptDatakey", func(s *story) {
		body := &model.DecryptDatakeyRequestBody{
			KeyId: s.keys["data"], CipherText: at(s.dataKey.CipherText), DatakeyCipherLength: "64", AdditionalAuthenticatedData: pointer("bound"),
		}
		reply, err := s.kms.DecryptDatakey(&model.DecryptDatakeyRequest{Body: body})
		s.done(err, reply, 200)
		s.equal("data_key", at(reply.DataKey), at(s.dataKey.PlainText))
		s.equal("datakey_length", at(reply.DatakeyLength), "64")
		s.equal("datakey_dgst", at(reply.DatakeyDgst), strings.ToUpper(digestOf(s, at(reply.DataKey))))
		body.AdditionalAuthenticatedData = nil
		_, err = s.kms.DecryptDatakey(&model.DecryptDatakeyRequest{Body: body})
		s.refused(err, 400, "KMS.2201")
	}},
	{"EncryptDatakey", func(s *story) {
		own := hex.EncodeToString([]byte("sixteen byte key"))
		reply, err := s.kms.EncryptDatakey(&model.EncryptDatakeyRequest{Body: &model.EncryptDatakeyRequestBody{
			KeyId: s.keys["data"], PlainText: own + digestOf(s, own), DatakeyPlainLength: "16",
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("datakey_length", at(reply.DatakeyLength), "16")
		s.upperHex(at(reply.CipherText), 0)
		opened, err := s.kms.DecryptDatakey(&model.DecryptDatakeyRequest{Body: &model.DecryptDatakeyRequestBody{
			KeyId: s.keys["data"], CipherText: at(reply.CipherText), DatakeyCipherLength: "16",
		}})
		s.done(err, opened, 200)
		s.equal("data_key", at(opened.DataKey), strings.ToUpper(own))
	}},
	{"EncryptData", func(s *story) {
		reply, err := s.kms.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: s.keys["data"], PlainText: "häłło <&> \x00"}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.sealed = at(reply.CipherText)
		if n := len(s.sealed); n < 188 || n > 5648 {
			s.t.Errorf("cipher_text has %d characters", n)
		}
	}},
	{"DecryptData", func(s *story) {
		reply, err := s.kms.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{CipherText: s.sealed}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("plain_text", at(reply.PlainText), "häłło <&> \x00")
		s.equal("plain_text_base64", at(reply.PlainTextBase64), base64.StdEncoding.EncodeToString([]byte("häłło <&> \x00")))
	}},
	{"ReEncrypt", func(s *story) {
		reply, err := s.kms.ReEncrypt(&model.ReEncryptRequest{Body: &model.ReEncryptRequestBody{
			SourceKeyId: pointer(s.keys["data"]), DestinationKeyId: s.keys["rsa"], DestinationEncryptionAlgorithm: pointer("RSAES_OAEP_SHA_256"), CipherText: s.sealed,
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["rsa"])
		s.equal("source_key_id", at(reply.SourceKeyId), s.keys["data"])
		s.equal("source_encryption_algorithm", at(reply.SourceEncryptionAlgorithm), "SYMMETRIC_DEFAULT")
		s.equal("destination_encryption_algorithm", at(reply.DestinationEncryptionAlgorithm), "RSAES_OAEP_SHA_256")
		s.equal("the characters of an RSA block", len(at(reply.CipherText)), 344)
		opened, err := s.kms.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{
			KeyId: pointer(s.keys["rsa"]), EncryptionAlgorithm: enum[model.DecryptDataRequestBodyEncryptionAlgorithm](s.t, "RSAES_OAEP_SHA_256"), CipherText: at(reply.CipherText),
		}})
		s.done(err, opened, 200)
		s.equal("plain_text", at(opened.PlainText), "häłło <&> \x00")
	}},
}

// upperHex wants n bytes as upper-case hex; 0: more than a hundred.
func (s *story) upperHex(text string, n int) {
	s.t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil || strings.ToUpper(text) != text || n > 0 && len(raw) != n || n == 0 && len(raw) < 100 {
		s.t.Errorf("%.40q (%d characters) is not %d bytes of upper-case hex", text, len(text), n)
	}
}

// digestOf is the SHA-256 of what is in hex, in hex.
func digestOf(s *story, text string) string {
	s.t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		s.t.Fatal(err)
	}
	digest := sha256.Sum256(raw)
	return hex.EncodeToString(digest[:])
}
