package huawei_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm3"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/server/wire"
)

// createOf makes a key of a spec, for a usage where one is given.
func (w *world) createOf(spec, usage string) string {
	w.t.Helper()
	w.made++
	var created wire.CreateKeyReply
	w.must("create-key", fmt.Sprintf(`{"key_alias":"of-%d","key_spec":%q,"key_usage":%q}`, w.made, spec, usage), &created)
	return created.KeyInfo.KeyID
}

// publicKey fetches a key's public half and checks its form.
func (w *world) publicKey(id string) []byte {
	w.t.Helper()
	var reply wire.PublicKeyReply
	w.must("get-publickey", `{"key_id":"`+id+`"}`, &reply)
	block, rest := pem.Decode([]byte(reply.PublicKey))
	if block == nil || len(rest) != 0 || block.Type != "PUBLIC KEY" || strings.Count(reply.PublicKey, "\r\n") != strings.Count(reply.PublicKey, "\n") ||
		!strings.HasSuffix(reply.PublicKey, "-----END PUBLIC KEY-----\r\n") {
		w.t.Fatalf("the public key is %q", reply.PublicKey)
	}
	return block.Bytes
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// Every spec that signs, with every scheme of it, raw and by digest.
func TestSignAndVerify(t *testing.T) {
	w := newWorld(t)
	message := []byte("what is signed")
	for _, spec := range hsm.Specs() {
		if !spec.Allows(hsm.UseSign) || spec == hsm.SpecRSA3072 || spec == hsm.SpecRSA4096 {
			continue
		}
		id := w.createOf(string(spec), "")
		public := w.publicKey(id)
		for _, scheme := range hsm.Schemes() {
			ask := func(verb, message, kind, more string) answered {
				return w.ask(verb, fmt.Sprintf(`{"key_id":%q,"message":%q,"signing_algorithm":%q,"message_type":%q%s}`, id, message, scheme, kind, more))
			}
			if !scheme.Fits(spec) {
				if a := ask("sign", b64(message), "RAW", ""); a.status != 400 || a.code(t) != "KMS.0332" {
					t.Errorf("%s with %s: %d %s", spec, scheme, a.status, a.body)
				}
				continue
			}
			digest, err := keypair.Digest(spec, public, scheme, message)
			if err != nil {
				t.Fatal(err)
			}
			for kind, signed := range map[string][]byte{"RAW": message, "DIGEST": digest} {
				a := ask("sign", b64(signed), kind, "")
				if spec == hsm.SpecEd25519 && kind == "DIGEST" {
					if a.status != 400 || a.code(t) != "KMS.0329" {
						t.Errorf("a digest for Ed25519: %d %s", a.status, a.body)
					}
					continue
				}
				var reply wire.SignReply
				if err := json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 {
					t.Errorf("%s with %s, %s: %d %s", spec, scheme, kind, a.status, a.body)
					continue
				}
				if valid, err := keypair.Verify(spec, public, scheme, digest, reply.Signature); err != nil || !valid || reply.KeyID != id {
					t.Errorf("%s with %s, %s: valid %v, error %v", spec, scheme, kind, valid, err)
				}
				if a := ask("verify", b64(signed), kind, `,"signature":"`+b64(reply.Signature)+`"`); a.body != `{"key_id":"`+id+`","signature_valid":"true"}` {
					t.Errorf("%s with %s, %s: %s", spec, scheme, kind, a.body)
				}
				reply.Signature[len(reply.Signature)-1] ^= 1
				if a := ask("verify", b64(signed), kind, `,"signature":"`+b64(reply.Signature)+`"`); a.status != 200 || a.body != `{"key_id":"`+id+`","signature_valid":"false"}` {
					t.Errorf("%s with %s, %s, altered: %s", spec, scheme, kind, a.body)
				}
			}
			if spec != hsm.SpecEd25519 {
				if a := ask("sign", b64(digest[1:]), "", ""); a.status != 400 || a.code(t) != "KMS.0329" {
					t.Errorf("%s: a digest that is too short: %d %s", scheme, a.status, a.body)
				}
			}
		}
	}
}

// The vendor's client, unmodified, signs and verifies, and the standard library
// agrees.
func TestSDKSignatures(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	spec, usage := model.GetCreateKeyRequestBodyKeySpecEnum(), model.GetCreateKeyRequestBodyKeyUsageEnum()
	created, err := client.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "signer", KeySpec: &spec.RSA_2048, KeyUsage: &usage.SIGN_VERIFY}})
	if err != nil {
		t.Fatal(err)
	}
	id := *created.KeyInfo.KeyId
	shown, err := client.ShowPublicKey(&model.ShowPublicKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: id}})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(*shown.PublicKey))
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	scheme := model.GetSignRequestBodySigningAlgorithmEnum().RSASSA_PSS_SHA_256
	signed, err := client.Sign(&model.SignRequest{Body: &model.SignRequestBody{KeyId: id, Message: b64(digest[:]), SigningAlgorithm: scheme}})
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(*signed.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if err := rsa.VerifyPSS(parsed.(*rsa.PublicKey), crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
		t.Error(err)
	}
	verified, err := client.ValidateSignature(&model.ValidateSignatureRequest{Body: &model.VerifyRequestBody{
		KeyId: id, Message: b64(digest[:]), Signature: *signed.Signature, SigningAlgorithm: model.GetVerifyRequestBodySigningAlgorithmEnum().RSASSA_PSS_SHA_256,
	}})
	if err != nil || *verified.SignatureValid != "true" {
		t.Errorf("%v, %v", verified, err)
	}

	created, err = client.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "curve", KeySpec: &spec.EC_P256}})
	if err != nil {
		t.Fatal(err)
	}
	id = *created.KeyInfo.KeyId
	raw := model.GetSignRequestBodyMessageTypeEnum().RAW
	signed, err = client.Sign(&model.SignRequest{Body: &model.SignRequestBody{
		KeyId: id, Message: b64([]byte("message")), SigningAlgorithm: model.GetSignRequestBodySigningAlgorithmEnum().ECDSA_SHA_256, MessageType: &raw,
	}})
	if err != nil {
		t.Fatal(err)
	}
	signature, _ = base64.StdEncoding.DecodeString(*signed.Signature)
	parsed, err = x509.ParsePKIXPublicKey(w.publicKey(id))
	if err != nil || !ecdsa.VerifyASN1(parsed.(*ecdsa.PublicKey), digest[:], signature) {
		t.Errorf("an ECDSA signature that does not verify: %v", err)
	}
}

// MACs by the vendor's client: lower-case hex, a real truth value.
func TestSDKMACs(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	algorithm, check := model.GetGenerateMacRequestBodyMacAlgorithmEnum(), model.GetVerifyMacRequestBodyMacAlgorithmEnum()
	f := func(spec string, algorithm model.GenerateMacRequestBodyMacAlgorithm, check model.VerifyMacRequestBodyMacAlgorithm, size int) {
		t.Helper()
		id := w.createOf(spec, "")
		made, err := client.GenerateMac(&model.GenerateMacRequest{Body: &model.GenerateMacRequestBody{KeyId: id, MacAlgorithm: algorithm, Message: b64([]byte("message"))}})
		if err != nil {
			t.Fatal(err)
		}
		if *made.KeyId != id || *made.MacAlgorithm != algorithm.Value() || len(*made.Mac) != 2*size || strings.ToLower(*made.Mac) != *made.Mac {
			t.Errorf("%s: %v", spec, made)
		}
		other := "00"
		if strings.HasPrefix(*made.Mac, other) {
			other = "01"
		}
		for mac, want := range map[string]bool{*made.Mac: true, strings.ToUpper(*made.Mac): true, other + (*made.Mac)[2:]: false, (*made.Mac)[2:]: false} {
			verified, err := client.VerifyMac(&model.VerifyMacRequest{Body: &model.VerifyMacRequestBody{KeyId: id, MacAlgorithm: check, Message: b64([]byte("message")), Mac: mac}})
			if err != nil || *verified.MacValid != want {
				t.Errorf("%s: %s: %v, %v", spec, mac, verified, err)
			}
		}
	}
	f("HMAC_256", algorithm.HMAC_SHA_256, check.HMAC_SHA_256, sha256.Size)
	f("HMAC_384", algorithm.HMAC_SHA_384, check.HMAC_SHA_384, sha512.Size384)
	f("HMAC_512", algorithm.HMAC_SHA_512, check.HMAC_SHA_512, sha512.Size)
	f("HMAC_SM3", algorithm.HMAC_SM3, check.HMAC_SM3, sm3.Size)
}

// RSA keys encrypt bare blocks that anybody with the public key can make.
func TestRSAEncryption(t *testing.T) {
	w := newWorld(t)
	id := w.createOf("RSA_2048", "ENCRYPT_DECRYPT")
	parsed, err := x509.ParsePKIXPublicKey(w.publicKey(id))
	if err != nil {
		t.Fatal(err)
	}
	public := parsed.(*rsa.PublicKey)
	decrypt := func(ciphertext []byte, algorithm string) answered {
		return w.ask("decrypt-data", fmt.Sprintf(`{"key_id":%q,"cipher_text":%q,"encryption_algorithm":%q}`, id, b64(ciphertext), algorithm))
	}
	want := `{"key_id":"` + id + `","plain_text":"text","plain_text_base64":"dGV4dA=="}`
	for algorithm, limit := range map[string]int{"RSAES_OAEP_SHA_256": 190, "RSAES_OAEP_SHA_1": 214} {
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", fmt.Sprintf(`{"key_id":%q,"plain_text":"text","encryption_algorithm":%q}`, id, algorithm), &sealed)
		if len(sealed.CipherText) != 256 {
			t.Errorf("%s: a ciphertext of %d bytes", algorithm, len(sealed.CipherText))
		}
		if a := decrypt(sealed.CipherText, algorithm); a.body != want {
			t.Errorf("%s: %s", algorithm, a.body)
		}
		for size, status := range map[int]int{limit: 200, limit + 1: 400} {
			a := w.ask("encrypt-data", fmt.Sprintf(`{"key_id":%q,"plain_text":%q,"encryption_algorithm":%q}`, id, strings.Repeat("x", size), algorithm))
			if a.status != status || status == 400 && a.code(t) != "KMS.2108" {
				t.Errorf("%s: %d bytes: %d %s", algorithm, size, a.status, a.body)
			}
		}
	}
	outside, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := decrypt(outside, "RSAES_OAEP_SHA_256"); a.body != want {
		t.Errorf("encrypted outside: %s", a.body)
	}
	for name, a := range map[string]answered{
		"KMS.2201": decrypt(outside, "RSAES_OAEP_SHA_1"),
		"KMS.2106": decrypt(outside, "SM2_ENCRYPT"),
		"KMS.0208": w.ask("encrypt-data", `{"key_id":"`+id+`","plain_text":"x","encryption_algorithm":"RSAES_OAEP_SHA_256","additional_authenticated_data":"a"}`),
	} {
		if a.status != 400 || a.code(t) != name {
			t.Errorf("%d %s, want %s", a.status, a.body, name)
		}
	}

	// Data keys: 1520 bits at most, and no permission for data opens them.
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+id+`","datakey_length":"1520"}`, &dataKey)
	var opened wire.DecryptDataKeyReply
	w.must("decrypt-datakey", fmt.Sprintf(`{"key_id":%q,"cipher_text":"%X","datakey_cipher_length":190}`, id, []byte(dataKey.CipherText)), &opened)
	if string(opened.DataKey) != string(dataKey.PlainText) {
		t.Error("another data key comes back")
	}
	if a := w.ask("create-datakey", `{"key_id":"`+id+`","datakey_length":"1528"}`); a.status != 400 || a.code(t) != "KMS.1904" {
		t.Errorf("1528 bits: %d %s", a.status, a.body)
	}
	if a := decrypt(dataKey.CipherText, "RSAES_OAEP_SHA_256"); a.status != 400 || a.code(t) != "KMS.2201" {
		t.Errorf("a data key as data: %d %s", a.status, a.body)
	}
	if a := w.ask("decrypt-datakey", fmt.Sprintf(`{"key_id":%q,"cipher_text":"%X","datakey_cipher_length":4}`, id, outside)); a.status != 400 || a.code(t) != "KMS.2201" {
		t.Errorf("data as a data key: %d %s", a.status, a.body)
	}
}

// SM2 and SM4 keys, with the digest that goes with SM4.
func TestSMKeys(t *testing.T) {
	w := newWorld(t)
	pair := w.createOf("SM2", "ENCRYPT_DECRYPT")
	var sealed wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+pair+`","plain_text":"text","encryption_algorithm":"SM2_ENCRYPT"}`, &sealed)
	if a := w.ask("decrypt-data", fmt.Sprintf(`{"key_id":%q,"cipher_text":%q,"encryption_algorithm":"SM2_ENCRYPT"}`, pair, b64(sealed.CipherText))); a.body != `{"key_id":"`+pair+`","plain_text":"text","plain_text_base64":"dGV4dA=="}` {
		t.Errorf("%s", a.body)
	}
	if a := w.ask("create-datakey", `{"key_id":"`+pair+`"}`); a.status != 400 || a.code(t) != "KMS.0325" {
		t.Errorf("a data key under SM2: %d %s", a.status, a.body)
	}

	id := w.createOf("SM4", "")
	w.must("encrypt-data", `{"key_id":"`+id+`","plain_text":"text","additional_authenticated_data":"bound"}`, &sealed)
	var data wire.DecryptDataReply
	w.must("decrypt-data", fmt.Sprintf(`{"cipher_text":%q,"additional_authenticated_data":"bound"}`, b64(sealed.CipherText)), &data)
	if string(data.PlainText) != "text" || data.KeyID != id {
		t.Errorf("%+v", data)
	}
	if a := w.ask("decrypt-data", fmt.Sprintf(`{"cipher_text":%q}`, b64(sealed.CipherText))); a.status != 400 || a.code(t) != "KMS.2201" {
		t.Errorf("without its context: %d %s", a.status, a.body)
	}
	zeros := strings.Repeat("00", 64)
	sm3OfZeros := sm3.Sum(make([]byte, 64))
	sum := hex.EncodeToString(sm3OfZeros[:])
	body := func(key, digest string) string {
		return `{"key_id":"` + key + `","plain_text":"` + zeros + digest + `","datakey_plain_length":"64"}`
	}
	var key wire.EncryptDataKeyReply
	w.must("encrypt-datakey", body(id, sum), &key)
	var opened wire.DecryptDataKeyReply
	w.must("decrypt-datakey", fmt.Sprintf(`{"key_id":%q,"cipher_text":"%X","datakey_cipher_length":"64"}`, id, []byte(key.CipherText)), &opened)
	if hex.EncodeToString(opened.DatakeyDgst) != sum {
		t.Errorf("the digest is %x, not SM3", []byte(opened.DatakeyDgst))
	}
	if a := w.ask("encrypt-datakey", body(id, zeroKey[128:])); a.status != 400 || a.code(t) != "KMS.2103" {
		t.Errorf("SHA-256 under SM4: %d %s", a.status, a.body)
	}
	if a := w.ask("encrypt-datakey", body(w.createKey("aes"), sum)); a.status != 400 || a.code(t) != "KMS.2103" {
		t.Errorf("SM3 under AES: %d %s", a.status, a.body)
	}
}

func TestSDKReEncrypt(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	a, b, pair := w.createKey("a"), w.createKey("b"), w.createOf("RSA_2048", "ENCRYPT_DECRYPT")
	var sealed wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+a+`","plain_text":"text","additional_authenticated_data":"old"}`, &sealed)
	moved, err := client.ReEncrypt(&model.ReEncryptRequest{Body: &model.ReEncryptRequestBody{
		SourceAdditionalAuthenticatedData: text("old"), DestinationKeyId: b, DestinationAdditionalAuthenticatedData: text("new"), CipherText: b64(sealed.CipherText),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *moved.KeyId != b || *moved.SourceKeyId != a || *moved.SourceEncryptionAlgorithm != "SYMMETRIC_DEFAULT" {
		t.Errorf("%v", moved)
	}
	toPair, err := client.ReEncrypt(&model.ReEncryptRequest{Body: &model.ReEncryptRequestBody{
		SourceKeyId: &b, SourceAdditionalAuthenticatedData: text("new"), DestinationKeyId: pair, DestinationEncryptionAlgorithm: text("RSAES_OAEP_SHA_256"), CipherText: *moved.CipherText,
	}})
	if err != nil {
		t.Fatal(err)
	}
	back, err := client.ReEncrypt(&model.ReEncryptRequest{Body: &model.ReEncryptRequestBody{
		SourceKeyId: &pair, SourceEncryptionAlgorithm: text("RSAES_OAEP_SHA_256"), DestinationKeyId: a, CipherText: *toPair.CipherText,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := w.ask("decrypt-data", `{"cipher_text":"`+*back.CipherText+`"}`); r.body != `{"key_id":"`+a+`","plain_text":"text","plain_text_base64":"dGV4dA=="}` {
		t.Errorf("%s", r.body)
	}

	// What is bound to a context, an extension here, moves to another one.
	var bound wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+a+`","plain_text":"text","encryption_context":{"b":"2","a":"1"}}`, &bound)
	move := func(from, to string) string {
		return `{"destination_key_id":"` + b + `","cipher_text":"` + b64(bound.CipherText) + `","source_encryption_context":` + from + `,"destination_encryption_context":` + to + `}`
	}
	var rebound wire.ReEncryptReply
	w.must("re-encrypt", move(`{"a":"1","b":"2"}`, `"text"`), &rebound)
	if r := w.ask("decrypt-data", `{"cipher_text":"`+rebound.CipherText+`","additional_authenticated_data":"text"}`); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	for from, code := range map[string]string{`{"a":"1"}`: "KMS.2201", `{"a":1}`: "KMS.0208", `7`: "KMS.0208"} {
		if r := w.ask("re-encrypt", move(from, `""`)); r.status != 400 || r.code(t) != code {
			t.Errorf("from %s: %d %s, want %s", from, r.status, r.body, code)
		}
	}
	if r := w.ask("re-encrypt", move(`{"a":"1","b":"2"}`, `{"a":1}`)); r.status != 400 || r.code(t) != "KMS.0208" {
		t.Errorf("%d %s", r.status, r.body)
	}

	// A data key stays one: in hex, and nothing opens it as data.
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+a+`"}`, &dataKey)
	key, err := client.ReEncrypt(&model.ReEncryptRequest{Body: &model.ReEncryptRequestBody{
		DestinationKeyId: b, DatakeyCipherLength: text("32"), CipherText: fmt.Sprintf("%X", []byte(dataKey.CipherText)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var opened wire.DecryptDataKeyReply
	w.must("decrypt-datakey", fmt.Sprintf(`{"key_id":%q,"cipher_text":%q,"datakey_cipher_length":"32"}`, b, *key.CipherText), &opened)
	if string(opened.DataKey) != string(dataKey.PlainText) {
		t.Error("another data key comes back")
	}
	raw, _ := hex.DecodeString(*key.CipherText)
	for want, r := range map[string]answered{
		"KMS.2201": w.ask("decrypt-data", `{"cipher_text":"`+b64(raw)+`"}`),
		"KMS.0204": w.ask("re-encrypt", `{"destination_key_id":"`+a+`","cipher_text":"AAAA","source_encryption_algorithm":"RSAES_OAEP_SHA_256"}`),
		"KMS.0205": w.ask("re-encrypt", `{"destination_key_id":"x","cipher_text":"AAAA"}`),
	} {
		if r.status != 400 || r.code(t) != want {
			t.Errorf("%d %s, want %s", r.status, r.body, want)
		}
	}
}

func TestSDKDataKeyPairs(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	id := w.createKey("wrapping")
	made, err := client.CreateRsaDatakeyPair(&model.CreateRsaDatakeyPairRequest{Body: &model.CreateRsaDatakeyPairRequestBody{
		KeyId: id, KeySpec: model.GetCreateRsaDatakeyPairRequestBodyKeySpecEnum().RSA_2048, AdditionalAuthenticatedData: text("bound"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	private, _ := base64.StdEncoding.DecodeString(*made.PrivateKeyPlainText)
	public, _ := base64.StdEncoding.DecodeString(*made.PublicKey)
	if own, err := keypair.Public(hsm.SpecRSA2048, private); err != nil || string(own) != string(public) {
		t.Errorf("the halves do not belong together: %v", err)
	}
	var opened wire.DecryptDataReply
	w.must("decrypt-data", `{"cipher_text":"`+*made.PrivateKeyCipherText+`","additional_authenticated_data":"bound"}`, &opened)
	if string(opened.PlainTextBase64) != string(private) {
		t.Error("another private key comes back")
	}
	specs := model.GetCreateEcDatakeyPairRequestBodyKeySpecEnum()
	for spec, of := range map[model.CreateEcDatakeyPairRequestBodyKeySpec]hsm.Spec{
		specs.ECC_NIST_P256: hsm.SpecECP256, specs.ECC_NIST_P384: hsm.SpecECP384, specs.ECC_NIST_P521: hsm.SpecECP521,
		specs.ECC_SECG_P256_K1: hsm.SpecSECP256K1, specs.SM2: hsm.SpecSM2,
	} {
		without := false
		made, err := client.CreateEcDatakeyPair(&model.CreateEcDatakeyPairRequest{Body: &model.CreateEcDatakeyPairRequestBody{KeyId: id, KeySpec: spec, WithPlainText: &without}})
		if err != nil {
			t.Fatal(err)
		}
		public, _ := base64.StdEncoding.DecodeString(*made.PublicKey)
		if err := keypair.CheckPublic(of, public); err != nil || made.PrivateKeyPlainText != nil || *made.PrivateKeyCipherText == "" {
			t.Errorf("%s: %v, %v", spec.Value(), made, err)
		}
	}
	if a := w.ask("create-rsa-datakey-pair", `{"key_id":"`+id+`","key_spec":"RSA_1024"}`); a.status != 400 || a.code(t) != "KMS.1110" {
		t.Errorf("RSA_1024: %d %s", a.status, a.body)
	}
}

func TestSDKDeriveSharedSecret(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	id := w.createOf("EC_P384", "KEY_AGREEMENT")
	parsed, err := x509.ParsePKIXPublicKey(w.publicKey(id))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := parsed.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ours.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := x509.MarshalPKIXPublicKey(ours.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	derived, err := client.DeriveSharedSecret(&model.DeriveSharedSecretRequest{Body: &model.DeriveSharedSecretRequestBody{
		KeyId: id, KeyAgreementAlgorithm: model.GetDeriveSharedSecretRequestBodyKeyAgreementAlgorithmEnum().ECDH, PublicKey: b64(peer),
	}})
	if err != nil || *derived.SharedSecret != b64(want) {
		t.Errorf("%v, %v", derived, err)
	}
	for _, public := range []string{somePeer, b64(peer[:40]), "AAAA"} { // another curve, cut, nothing
		if a := w.ask("derive-shared-secret", `{"key_id":"`+id+`","key_agreement_algorithm":"ECDH","public_key":"`+public+`"}`); a.status != 400 || a.code(t) != "KMS.0308" {
			t.Errorf("%.20s: %d %s", public, a.status, a.body)
		}
	}
}

func TestRefusedParametersOfPairs(t *testing.T) {
	w := newWorld(t)
	pair, mac := w.createOf("EC_P256", ""), w.createOf("HMAC_256", "")
	f := func(verb, body, code string) {
		t.Helper()
		body = strings.NewReplacer("PAIR", pair, "MACKEY", mac).Replace(body)
		if a := w.ask(verb, body); a.status != 400 || a.code(t) != code {
			t.Errorf("%s %.100s: %d %.200s, want %s", verb, body, a.status, a.body, code)
		}
	}
	long := b64(make([]byte, 4096))
	f("sign", `{"key_id":"PAIR"}`, "KMS.0204")
	f("sign", `{"key_id":"PAIR","message":"AAAA"}`, "KMS.0204")
	f("sign", `{"key_id":"PAIR","message":"A","signing_algorithm":"ECDSA_SHA_256"}`, "KMS.0308")
	f("sign", `{"key_id":"PAIR","message":"AAAA","signing_algorithm":"ECDSA_SHA_256","message_type":"HASH"}`, "KMS.0308")
	f("sign", `{"key_id":"PAIR","message":"AAAA","signing_algorithm":"ECDSA_MD5"}`, "KMS.0332")
	f("sign", `{"key_id":"PAIR","message":"AAAA","signing_algorithm":"ECDSA_SHA_256"}`, "KMS.0329")
	f("sign", `{"key_id":"PAIR","message":"`+long+`","signing_algorithm":"ECDSA_SHA_256","message_type":"RAW"}`, "KMS.0203")
	f("verify", `{"key_id":"PAIR","message":"AAAA","signing_algorithm":"ECDSA_SHA_256","message_type":"RAW"}`, "KMS.0204")
	f("generate-mac", `{"key_id":"MACKEY","message":"AAAA"}`, "KMS.0204")
	f("generate-mac", `{"key_id":"MACKEY","mac_algorithm":"HMAC_SHA_256"}`, "KMS.0204")
	f("generate-mac", `{"key_id":"MACKEY","mac_algorithm":"HMAC_SHA_512","message":"AAAA"}`, "KMS.0308")
	f("generate-mac", `{"key_id":"MACKEY","mac_algorithm":"HMAC_SHA_256","message":"`+b64(make([]byte, 4097))+`"}`, "KMS.0203")
	f("verify-mac", `{"key_id":"MACKEY","mac_algorithm":"HMAC_SHA_256","message":"AAAA"}`, "KMS.0204")
	f("verify-mac", `{"key_id":"MACKEY","mac_algorithm":"HMAC_SHA_256","message":"AAAA","mac":"zz"}`, "KMS.0308")
	f("derive-shared-secret", `{"key_id":"PAIR","public_key":"AAAA"}`, "KMS.0204")
	f("derive-shared-secret", `{"key_id":"PAIR","key_agreement_algorithm":"DH","public_key":"AAAA"}`, "KMS.0308")
	for _, spec := range []string{"SM2", "SM4"} {
		f("create-key", `{"key_alias":"sm","key_spec":"`+spec+`","protection_level":"HSM"}`, "KMS.0308")
	}
	for spec, usage := range map[string]string{"EC_P256": "ENCRYPT_DECRYPT", "HMAC_256": "SIGN_VERIFY", "ED25519": "KEY_AGREEMENT", "RSA_2048": "GENERATE_VERIFY_MAC"} {
		f("create-key", `{"key_alias":"x","key_spec":"`+spec+`","key_usage":"`+usage+`"}`, "KMS.0308")
	}
	for _, spec := range []string{"SM2", "SM4", "HMAC_256", "ED25519"} {
		f("create-key", `{"key_alias":"x","key_spec":"`+spec+`","origin":"external"}`, "KMS.0308")
	}
}
