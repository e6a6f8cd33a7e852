package huaweitest

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

var pairSteps = []step{
	{"ShowPublicKey", func(s *story) {
		s.publicKey("signer")
		_, err := s.kms.ShowPublicKey(&model.ShowPublicKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.refused(err, 400, "KMS.0331")
	}},
	{"Sign", func(s *story) {
		digest := sha256.Sum256([]byte("message"))
		s.message = base64.StdEncoding.EncodeToString(digest[:])
		reply, err := s.kms.Sign(&model.SignRequest{Body: &model.SignRequestBody{
			KeyId: s.keys["signer"], Message: s.message, SigningAlgorithm: *enum[model.SignRequestBodySigningAlgorithm](s.t, "ECDSA_SHA_256"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["signer"])
		s.signature = at(reply.Signature)
		if !ecdsa.VerifyASN1(s.publicKey("signer").(*ecdsa.PublicKey), digest[:], s.decoded(s.signature)) {
			s.t.Error("the signature does not hold")
		}
	}},
	{"ValidateSignature", func(s *story) {
		for signature, want := range map[string]string{s.signature: "true", base64.StdEncoding.EncodeToString(s.decoded(s.signature)[1:]): "false"} {
			reply, err := s.kms.ValidateSignature(&model.ValidateSignatureRequest{Body: &model.VerifyRequestBody{
				KeyId: s.keys["signer"], Message: s.message, Signature: signature, SigningAlgorithm: *enum[model.VerifyRequestBodySigningAlgorithm](s.t, "ECDSA_SHA_256"),
			}})
			s.done(err, reply, 200)
			s.equal("key_id", at(reply.KeyId), s.keys["signer"])
			s.equal("signature_valid", at(reply.SignatureValid), want)
		}
	}},
	{"GenerateMac", func(s *story) {
		reply, err := s.kms.GenerateMac(&model.GenerateMacRequest{Body: &model.GenerateMacRequestBody{
			KeyId: s.keys["mac"], Message: s.message, MacAlgorithm: *enum[model.GenerateMacRequestBodyMacAlgorithm](s.t, "HMAC_SHA_256"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["mac"])
		s.equal("mac_algorithm", at(reply.MacAlgorithm), "HMAC_SHA_256")
		s.mac = at(reply.Mac)
		if len(s.mac) != 64 || strings.ToLower(s.mac) != s.mac {
			s.t.Errorf("mac is %s", s.mac)
		}
	}},
	{"VerifyMac", func(s *story) {
		for mac, want := range map[string]bool{s.mac: true, strings.Repeat("00", 32): false} {
			reply, err := s.kms.VerifyMac(&model.VerifyMacRequest{Body: &model.VerifyMacRequestBody{
				KeyId: s.keys["mac"], Message: s.message, Mac: mac, MacAlgorithm: *enum[model.VerifyMacRequestBodyMacAlgorithm](s.t, "HMAC_SHA_256"),
			}})
			s.done(err, reply, 200)
			s.equal("key_id", at(reply.KeyId), s.keys["mac"])
			s.equal("mac_valid", at(reply.MacValid), want)
		}
	}},
	{"DeriveSharedSecret", func(s *story) {
		theirs, err := s.publicKey("agreement").(*ecdsa.PublicKey).ECDH()
		s.check(err)
		ours, err := ecdh.P384().GenerateKey(rand.Reader)
		s.check(err)
		want, err := ours.ECDH(theirs)
		s.check(err)
		public, err := x509.MarshalPKIXPublicKey(ours.PublicKey())
		s.check(err)
		reply, err := s.kms.DeriveSharedSecret(&model.DeriveSharedSecretRequest{Body: &model.DeriveSharedSecretRequestBody{
			KeyId: s.keys["agreement"], PublicKey: base64.StdEncoding.EncodeToString(public),
			KeyAgreementAlgorithm: *enum[model.DeriveSharedSecretRequestBodyKeyAgreementAlgorithm](s.t, "ECDH"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["agreement"])
		s.equal("shared_secret", at(reply.SharedSecret), base64.StdEncoding.EncodeToString(want))
	}},
	{"CreateRsaDatakeyPair", func(s *story) {
		reply, err := s.kms.CreateRsaDatakeyPair(&model.CreateRsaDatakeyPairRequest{Body: &model.CreateRsaDatakeyPairRequestBody{
			KeyId: s.keys["data"], KeySpec: *enum[model.CreateRsaDatakeyPairRequestBodyKeySpec](s.t, "RSA_2048"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("key_spec", reply.KeySpec.Value(), "RSA_2048")
		public, err := x509.ParsePKIXPublicKey(s.decoded(at(reply.PublicKey)))
		s.check(err)
		private, err := x509.ParsePKCS8PrivateKey(s.decoded(at(reply.PrivateKeyPlainText)))
		s.check(err)
		if !private.(*rsa.PrivateKey).PublicKey.Equal(public) {
			s.t.Error("the halves do not belong together")
		}
		opened, err := s.kms.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{CipherText: at(reply.PrivateKeyCipherText)}})
		s.done(err, opened, 200)
		s.equal("the private key in the ciphertext", at(opened.PlainTextBase64), at(reply.PrivateKeyPlainText))
	}},
	{"CreateEcDatakeyPair", func(s *story) {
		reply, err := s.kms.CreateEcDatakeyPair(&model.CreateEcDatakeyPairRequest{Body: &model.CreateEcDatakeyPairRequestBody{
			KeyId: s.keys["data"], KeySpec: *enum[model.CreateEcDatakeyPairRequestBodyKeySpec](s.t, "ECC_NIST_P521"), WithPlainText: pointer(false),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("key_spec", reply.KeySpec.Value(), "ECC_NIST_P521")
		if reply.PrivateKeyPlainText != nil || at(reply.PrivateKeyCipherText) == "" {
			s.t.Errorf("got %v", reply)
		}
		_, err = x509.ParsePKIXPublicKey(s.decoded(at(reply.PublicKey)))
		s.check(err)
	}},
}

var importSteps = []step{
	{"CreateParametersForImport", func(s *story) {
		reply, err := s.kms.CreateParametersForImport(&model.CreateParametersForImportRequest{Body: &model.GetParametersForImportRequestBody{
			KeyId: s.keys["external"], WrappingAlgorithm: *enum[model.GetParametersForImportRequestBodyWrappingAlgorithm](s.t, "RSAES_OAEP_SHA_256"),
		}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["external"])
		if left := time.Until(time.Unix(at(reply.ExpirationTime), 0)); left < 23*time.Hour || left > 25*time.Hour {
			s.t.Errorf("the token lives for another %v", left)
		}
		if n := len(at(reply.ImportToken)); n < 200 || n > 6144 {
			s.t.Errorf("import_token has %d characters", n)
		}
		s.token = reply
	}},
	{"ImportKeyMaterial", func(s *story) {
		public, err := x509.ParsePKIXPublicKey(s.decoded(at(s.token.PublicKey)))
		s.check(err)
		wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), []byte("thirty-two bytes of key material"), nil)
		s.check(err)
		body := &model.ImportKeyMaterialRequestBody{
			KeyId: s.keys["external"], ImportToken: at(s.token.ImportToken), EncryptedKeyMaterial: base64.StdEncoding.EncodeToString(wrapped),
			ExpirationTime: pointer(time.Now().Add(time.Hour).Unix()),
		}
		reply, err := s.kms.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: body})
		s.done(err, reply, 200)
		d := s.describe(s.keys["external"])
		s.equal("key_state", at(d.KeyState), "2")
		s.equal("the digits of expiration_time", len(at(d.ExpirationTime)), 13)
		used, err := s.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: s.keys["external"]}})
		s.done(err, used, 200)
		_, err = s.kms.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: body})
		s.refused(err, 400, "KMS.0310")
	}},
	{"DeleteImportedKeyMaterial", func(s *story) {
		request := &model.DeleteImportedKeyMaterialRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["external"]}}
		reply, err := s.kms.DeleteImportedKeyMaterial(request)
		s.done(err, reply, 200)
		s.equal("key_state", at(s.describe(s.keys["external"]).KeyState), "5")
		_, err = s.kms.DeleteImportedKeyMaterial(request)
		s.refused(err, 400, "KMS.2701")
	}},
}

// publicKey is the public half of a key, which must come as the vendor writes PEM.
func (s *story) publicKey(name string) any {
	s.t.Helper()
	reply, err := s.kms.ShowPublicKey(&model.ShowPublicKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys[name]}})
	s.done(err, reply, 200)
	s.equal("key_id", at(reply.KeyId), s.keys[name])
	text := at(reply.PublicKey)
	if strings.Count(text, "\n") != strings.Count(text, "\r\n") || !strings.HasSuffix(text, "-----END PUBLIC KEY-----\r\n") {
		s.t.Errorf("the lines of %q do not end with CR and LF", text)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		s.t.Fatalf("%q is no PEM", text)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	s.check(err)
	return public
}

func (s *story) decoded(text string) []byte {
	s.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	s.check(err)
	return raw
}

func (s *story) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
