package client_test

import (
	"crypto"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
)

// What the calls about asymmetric keys and MACs send, and what they make of the answer.
func TestPairs(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	ctx := t.Context()
	f := node.exchange
	const pem = `-----BEGIN PUBLIC KEY-----\r\nAQID\r\n-----END PUBLIC KEY-----\r\n`
	f(`get-publickey {"key_id":"k"}`, `{"key_id":"k","public_key":"`+pem+`"}`, []byte{1, 2, 3}, func() (any, error) { return c.PublicKey(ctx, "k", 0) })
	f(`get-publickey {"key_version":"2","key_id":"k"}`, `{"key_id":"k","public_key":"`+pem+`"}`, []byte{1, 2, 3}, func() (any, error) { return c.PublicKey(ctx, "k", 2) })
	f(`sign {"key_id":"k","message":"AQI=","signing_algorithm":"ED25519","message_type":"RAW"}`, `{"key_id":"k","signature":"Aw=="}`, []byte{3},
		func() (any, error) {
			return c.Sign(ctx, "k", []byte{1, 2}, client.SignOptions{Algorithm: "ED25519", Raw: true})
		})
	f(`sign {"key_version":"3","key_id":"k","message":"AQI=","signing_algorithm":"ECDSA_SHA_256"}`, `{"key_id":"k","signature":"Aw=="}`, []byte{3},
		func() (any, error) {
			return c.Sign(ctx, "k", []byte{1, 2}, client.SignOptions{Algorithm: "ECDSA_SHA_256", Version: 3})
		})
	for _, valid := range []string{"true", "false"} {
		f(`verify {"key_id":"k","message":"AQI=","signing_algorithm":"ECDSA_SHA_256","signature":"Aw=="}`, `{"key_id":"k","signature_valid":"`+valid+`"}`, valid == "true",
			func() (any, error) {
				return c.Verify(ctx, "k", []byte{1, 2}, []byte{3}, client.SignOptions{Algorithm: "ECDSA_SHA_256"})
			})
		f(`verify-mac {"key_id":"k","mac_algorithm":"HMAC_SM3","message":"AQI=","mac":"AB"}`, `{"key_id":"k","mac_algorithm":"HMAC_SM3","mac_valid":`+valid+`}`, valid == "true",
			func() (any, error) { return c.VerifyMAC(ctx, "k", []byte{1, 2}, []byte{0xab}, "HMAC_SM3") })
	}
	f(`generate-mac {"key_id":"k","mac_algorithm":"HMAC_SHA_256","message":"AQI="}`, `{"key_id":"k","mac_algorithm":"HMAC_SHA_256","mac":"ab"}`, []byte{0xab},
		func() (any, error) { return c.GenerateMAC(ctx, "k", []byte{1, 2}, "HMAC_SHA_256") })
	f(`derive-shared-secret {"key_version":"2","key_id":"k","key_agreement_algorithm":"ECDH","public_key":"AQI="}`, `{"key_id":"k","key_agreement_algorithm":"ECDH","shared_secret":"Aw=="}`, []byte{3},
		func() (any, error) { return c.DeriveSharedSecret(ctx, "k", []byte{1, 2}, 2) })
}

// What is encrypted under more than a symmetric key and a context.
func TestUnder(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	ctx := t.Context()
	f := node.exchange
	rsa := client.Under{Key: "k", Algorithm: "RSAES_OAEP_SHA_256", Version: 2}
	f(`encrypt-data {"key_version":"2","key_id":"k","plain_text":"x","encryption_algorithm":"RSAES_OAEP_SHA_256"}`, `{"key_id":"k","cipher_text":"/w=="}`, []byte{255},
		func() (any, error) { return c.EncryptDataUnder(ctx, []byte("x"), rsa) })
	f(`decrypt-data {"key_version":"2","key_id":"k","cipher_text":"/w==","encryption_algorithm":"RSAES_OAEP_SHA_256"}`, `{"key_id":"k","plain_text":"","plain_text_base64":"/w=="}`, "\xff of k",
		func() (any, error) {
			plain, key, err := c.DecryptDataUnder(ctx, []byte{255}, rsa)
			return string(plain) + " of " + key, err
		})
	f(`encrypt-data {"additional_authenticated_data":"a","key_id":"k","plain_text":"x"}`, `{"key_id":"k","cipher_text":"/w=="}`, []byte{255},
		func() (any, error) { return c.EncryptDataUnder(ctx, []byte("x"), client.Under{Key: "k", AAD: "a"}) })
	moved := client.ReEncrypted{Ciphertext: []byte{254}, KeyID: "n", From: "k"}
	f(`re-encrypt {"destination_key_id":"n","cipher_text":"/w=="}`, `{"key_id":"n","source_key_id":"k","cipher_text":"/g=="}`, moved,
		func() (any, error) {
			return c.ReEncryptData(ctx, []byte{255}, client.Under{}, client.Under{Key: "n"})
		})
	f(`re-encrypt {"source_key_id":"k","source_additional_authenticated_data":"a","source_encryption_algorithm":"RSAES_OAEP_SHA_256","destination_key_id":"n",`+
		`"destination_additional_authenticated_data":"c","destination_encryption_algorithm":"SM2_ENCRYPT","cipher_text":"/w==","source_key_version":"2","destination_key_version":"3",`+
		`"source_encryption_context":{"b":"1"},"destination_encryption_context":{"d":"2"}}`, `{"key_id":"n","source_key_id":"k","cipher_text":"/g=="}`, moved,
		func() (any, error) {
			from, to := rsa, client.Under{Key: "n", Algorithm: "SM2_ENCRYPT", Version: 3, AAD: "c", Context: map[string]string{"d": "2"}}
			from.AAD, from.Context = "a", map[string]string{"b": "1"}
			return c.ReEncryptData(ctx, []byte{255}, from, to)
		})
	for bytes, sent := range map[int]string{0: "32", 64: "64"} {
		f(`re-encrypt {"destination_key_id":"n","datakey_cipher_length":"`+sent+`","cipher_text":"ff"}`, `{"key_id":"n","source_key_id":"k","cipher_text":"FE"}`, moved,
			func() (any, error) {
				return c.ReEncryptDataKey(ctx, []byte{255}, bytes, client.Under{}, client.Under{Key: "n"})
			})
	}
	const pair = `{"key_id":"k","key_spec":"S","public_key":"AQ==","private_key_cipher_text":"Ag==","private_key_plain_text":"Aw=="}`
	f(`create-rsa-datakey-pair {"encryption_context":{"a":"b"},"key_id":"k","key_spec":"RSA_2048","with_plain_text":true}`, pair,
		client.DataKeyPair{KeyID: "k", Spec: "S", Public: []byte{1}, Ciphertext: []byte{2}, Private: []byte{3}},
		func() (any, error) {
			return c.CreateDataKeyPair(ctx, "k", "RSA_2048", client.DataKeyOptions{Context: map[string]string{"a": "b"}})
		})
	f(`create-ec-datakey-pair {"additional_authenticated_data":"a","key_id":"k","key_spec":"ECC_NIST_P256","with_plain_text":true}`, pair,
		client.DataKeyPair{KeyID: "k", Spec: "S", Public: []byte{1}, Ciphertext: []byte{2}, Private: []byte{3}},
		func() (any, error) {
			return c.CreateDataKeyPair(ctx, "k", "ECC_NIST_P256", client.DataKeyOptions{AAD: "a"})
		})
	f(`create-ec-datakey-pair {"key_id":"k","key_spec":"SM2","with_plain_text":false}`, strings.Replace(pair, `,"private_key_plain_text":"Aw=="`, "", 1),
		client.DataKeyPair{KeyID: "k", Spec: "S", Public: []byte{1}, Ciphertext: []byte{2}},
		func() (any, error) {
			return c.CreateDataKeyPairWithoutPlaintext(ctx, "k", "SM2", client.DataKeyOptions{})
		})
}

// An answer that does not say what was asked for is an error.
func TestUnintelligibleAnswers(t *testing.T) {
	f := func(answer string, call func(c *client.Client) error) {
		t.Helper()
		if err := call(open(t, configure(newFake(t, reply(answer))))); err == nil {
			t.Errorf("%s is taken for an answer", answer)
		}
	}
	for _, text := range []string{``, `AQID`, `-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n`, `-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\nx`} {
		f(`{"public_key":"`+text+`"}`, func(c *client.Client) error { _, err := c.PublicKey(t.Context(), "k", 0); return err })
	}
	f(`{"signature_valid":""}`, func(c *client.Client) error {
		_, err := c.Verify(t.Context(), "k", nil, nil, client.SignOptions{})
		return err
	})
	f(`{"cipher_text":"?"}`, func(c *client.Client) error {
		_, err := c.ReEncryptData(t.Context(), nil, client.Under{}, client.Under{})
		return err
	})
	f(`{"cipher_text":"?"}`, func(c *client.Client) error {
		_, err := c.ReEncryptDataKey(t.Context(), nil, 0, client.Under{}, client.Under{})
		return err
	})
}

func TestSigningHash(t *testing.T) {
	f := func(algorithm string, want crypto.Hash) {
		t.Helper()
		if got := client.SigningHash(algorithm); got != want {
			t.Errorf("%s: %v", algorithm, got)
		}
	}
	f("ECDSA_SHA_256", crypto.SHA256)
	f("RSASSA_PSS_SHA_384", crypto.SHA384)
	f("RSASSA_PKCS1_V1_5_SHA_512", crypto.SHA512)
	f("ED25519", 0)
	f("SM2DSA_SM3", 0)
	f("", 0)
}

// Beside a data key under an SM4 key there is its SM3, not its SHA-256. The
// digests of the byte 01 were calculated elsewhere.
func TestDataKeysUnderSM4(t *testing.T) {
	const (
		sha256 = "4BF5122F344554C53BDE2EBB8CD2B7E3D1600AD631C385A5D7CCE23C7785459A"
		sm3    = "799B719AC031FC89C6D8925A487DAD07308F837B7AB7BBC7CEBD3A4118FD2F38"
	)
	node := newFake(t, nil)
	node.answer = func(w http.ResponseWriter, verb, body string) {
		switch {
		case verb == "decrypt-datakey":
			_, _ = io.WriteString(w, `{"data_key":"01","datakey_length":"1","datakey_dgst":"`+sm3+`"}`)
		case strings.Contains(body, sm3):
			_, _ = io.WriteString(w, `{"key_id":"k","cipher_text":"FF","datakey_length":"1"}`)
		default:
			refuse(w, http.StatusBadRequest, "KMS.2103", "The digest at the end of plain_text is not that of the data key.")
		}
	}
	c := open(t, configure(node))
	if sealed, err := c.EncryptDataKey(t.Context(), "k", []byte{1}, client.DataKeyOptions{}); err != nil || len(sealed) != 1 {
		t.Errorf("got %x, %v", sealed, err)
	}
	if key, err := c.DecryptDataKey(t.Context(), "k", []byte{255}, client.DataKeyOptions{Bytes: 1}); err != nil || len(key) != 1 || key[0] != 1 {
		t.Errorf("got %x, %v", key, err)
	}
	want := []string{
		`encrypt-datakey {"key_id":"k","plain_text":"01` + sha256 + `","datakey_plain_length":"1"}`,
		`encrypt-datakey {"key_id":"k","plain_text":"01` + sm3 + `","datakey_plain_length":"1"}`,
		`decrypt-datakey {"key_id":"k","cipher_text":"FF","datakey_cipher_length":"1"}`,
	}
	if diff := cmp.Diff(node.seen(), want); diff != "" {
		t.Error("sent: -got +want\n" + diff)
	}
}

func TestCausesOfRefusals(t *testing.T) {
	f := func(code string, cause error) {
		t.Helper()
		node := newFake(t, nil)
		node.answer = func(w http.ResponseWriter, _, _ string) { refuse(w, http.StatusBadRequest, code, "") }
		_, err := open(t, configure(node)).Sign(t.Context(), "k", nil, client.SignOptions{})
		for _, one := range []error{client.ErrUsage, client.ErrAlgorithm} {
			if got := errors.Is(err, one); got != (one == cause) {
				t.Errorf("%s is %v: %v", code, one, got)
			}
		}
	}
	for _, code := range []string{"KMS.0325", "KMS.0331", "KMS.0334", "KMS.0335", "KMS.0341", "KMS.1114", "KMS.1115"} {
		f(code, client.ErrUsage)
	}
	for _, code := range []string{"KMS.0329", "KMS.0332", "KMS.2105", "KMS.2106"} {
		f(code, client.ErrAlgorithm)
	}
	f("KMS.0308", nil)
}
