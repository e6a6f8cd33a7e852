package huawei_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/server/wire"
)

// publicKeyOf fetches the public half of a version.
func (w *world) publicKeyOf(id, version string) []byte {
	w.t.Helper()
	var reply wire.PublicKeyReply
	w.must("get-publickey", `{"key_id":"`+id+`"`+version+`}`, &reply)
	block, _ := pem.Decode([]byte(reply.PublicKey))
	if block == nil {
		w.t.Fatalf("the public key is %q", reply.PublicKey)
	}
	return block.Bytes
}

// The versions of an asymmetric key are named, as a number or a string; without
// a name it is the first, whatever was added since.
func TestVersionsOfPairsAreNamed(t *testing.T) {
	w := newWorld(t)
	id := w.createOf("EC_P256", "")
	first := w.publicKeyOf(id, "")
	w.must("rotate-on-demand", `{"key_id":"`+id+`"}`, nil)
	w.must("rotate-on-demand", `{"key_id":"`+id+`"}`, nil)
	second, third := w.publicKeyOf(id, `,"key_version":2`), w.publicKeyOf(id, `,"key_version":"3"`)
	if !bytes.Equal(w.publicKeyOf(id, ""), first) || !bytes.Equal(w.publicKeyOf(id, `,"key_version":1`), first) || !bytes.Equal(w.publicKeyOf(id, `,"key_version":""`), first) {
		t.Error("without a version it is not the first")
	}
	if bytes.Equal(first, second) || bytes.Equal(second, third) || bytes.Equal(first, third) {
		t.Error("two versions have one public key")
	}
	digest := sha256.Sum256([]byte("message"))
	f := func(version string, public []byte, holds ...string) {
		t.Helper()
		body := fmt.Sprintf(`{"key_id":%q,"message":%q,"signing_algorithm":"ECDSA_SHA_256"`, id, b64(digest[:]))
		var signed wire.SignReply
		w.must("sign", body+version+"}", &signed)
		if valid, err := keypair.Verify(hsm.SpecECP256, public, hsm.SchemeECDSASHA256, digest[:], signed.Signature); err != nil || !valid {
			t.Errorf("version %q signed with another one: %v", version, err)
		}
		for _, other := range []string{"", `,"key_version":1`, `,"key_version":2`, `,"key_version":3`} {
			want := "false"
			for _, name := range holds {
				if name == other {
					want = "true"
				}
			}
			var verified wire.VerifyReply
			w.must("verify", body+`,"signature":"`+b64(signed.Signature)+`"`+other+"}", &verified)
			if verified.SignatureValid != want {
				t.Errorf("a signature of %q with %q: %s, want %s", version, other, verified.SignatureValid, want)
			}
		}
	}
	f("", first, "", `,"key_version":1`)
	f(`,"key_version":1`, first, "", `,"key_version":1`)
	f(`,"key_version":"2"`, second, `,"key_version":2`)
	f(`,"key_version":3`, third, `,"key_version":3`)

	var status wire.RotationStatusReply
	w.must("get-key-rotation-status", `{"key_id":"`+id+`"}`, &status)
	var versions wire.ListVersionsReply
	w.must("list-key-versions", `{"key_id":"`+id+`"}`, &versions)
	if status.NumberOfRotations != 2 || status.KeyRotationEnabled || status.LastRotationTime == "" || len(versions.Versions) != 3 || versions.Versions[0].Version != 3 {
		t.Errorf("after two versions more: %+v, %+v", status, versions)
	}
	for _, bad := range []string{"4", "0", "-1", "4294967296", `"x"`} {
		for verb, more := range map[string]string{
			"get-publickey": "", "sign": `,"message":"` + b64(digest[:]) + `","signing_algorithm":"ECDSA_SHA_256"`,
			"verify": `,"message":"` + b64(digest[:]) + `","signing_algorithm":"ECDSA_SHA_256","signature":"AAAA"`,
		} {
			if a := w.ask(verb, `{"key_id":"`+id+`","key_version":`+bad+more+`}`); a.status != 400 || a.code(t) != "KMS.0308" {
				t.Errorf("%s with version %s: %d %s", verb, bad, a.status, a.body)
			}
		}
	}
}

// Encryption, re-encryption and agreement name versions, too; symmetric keys
// find theirs by themselves.
func TestVersionsOfEncryptingPairs(t *testing.T) {
	w := newWorld(t)
	id, symmetric := w.createOf("RSA_2048", "ENCRYPT_DECRYPT"), w.createOf("AES_256", "")
	w.must("rotate-on-demand", `{"key_id":"`+id+`"}`, nil)
	const algorithm = `"encryption_algorithm":"RSAES_OAEP_SHA_256"`
	encrypt := func(version string) wire.Base64 {
		t.Helper()
		var sealed wire.EncryptDataReply
		w.must("encrypt-data", `{"key_id":"`+id+`","plain_text":"text",`+algorithm+version+`}`, &sealed)
		return sealed.CipherText
	}
	opens := func(ciphertext []byte, version string, want bool) {
		t.Helper()
		a := w.ask("decrypt-data", `{"key_id":"`+id+`","cipher_text":"`+b64(ciphertext)+`",`+algorithm+version+`}`)
		if opened := a.status == 200; opened != want || !want && a.code(t) != "KMS.2201" {
			t.Errorf("with version %q: %d %s", version, a.status, a.body)
		}
	}
	one, two := encrypt(""), encrypt(`,"key_version":2`)
	opens(one, "", true)
	opens(one, `,"key_version":1`, true)
	opens(one, `,"key_version":2`, false)
	opens(two, `,"key_version":2`, true)
	opens(two, "", false)

	// Encrypted elsewhere to the public half of the second version.
	parsed, err := x509.ParsePKIXPublicKey(w.publicKeyOf(id, `,"key_version":2`))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, parsed.(*rsa.PublicKey), []byte("text"), nil)
	if err != nil {
		t.Fatal(err)
	}
	opens(elsewhere, `,"key_version":2`, true)

	var again wire.ReEncryptReply
	w.must("re-encrypt", fmt.Sprintf(`{"source_key_id":%q,"source_key_version":2,"source_encryption_algorithm":"RSAES_OAEP_SHA_256","destination_key_id":%q,"cipher_text":%q}`, id, symmetric, b64(two)), &again)
	w.must("decrypt-data", `{"cipher_text":"`+again.CipherText+`"}`, nil)
	w.must("re-encrypt", fmt.Sprintf(`{"destination_key_id":%q,"destination_key_version":2,"destination_encryption_algorithm":"RSAES_OAEP_SHA_256","cipher_text":%q}`, id, again.CipherText), &again)
	w.must("decrypt-data", `{"key_id":"`+id+`","cipher_text":"`+again.CipherText+`",`+algorithm+`,"key_version":2}`, nil)

	for verb, body := range map[string]string{
		"encrypt-data": `{"key_id":"` + symmetric + `","plain_text":"text","key_version":1}`,
		"re-encrypt":   fmt.Sprintf(`{"source_key_id":%q,"destination_key_id":%q,"destination_key_version":1,"source_encryption_algorithm":"RSAES_OAEP_SHA_256","cipher_text":%q}`, id, symmetric, b64(one)),
	} {
		if a := w.ask(verb, body); a.status != 400 || a.code(t) != "KMS.0308" {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
	var sealed wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+symmetric+`","plain_text":"text"}`, &sealed)
	if a := w.ask("decrypt-data", `{"cipher_text":"`+b64(sealed.CipherText)+`","key_version":1}`); a.status != 400 || a.code(t) != "KMS.0308" {
		t.Errorf("a symmetric ciphertext with a version: %d %s", a.status, a.body)
	}
}

func TestVersionsOfAgreeingPairs(t *testing.T) {
	w := newWorld(t)
	id := w.createOf("EC_P256", "KEY_AGREEMENT")
	w.must("rotate-on-demand", `{"key_id":"`+id+`"}`, nil)
	mine, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := x509.MarshalPKIXPublicKey(mine.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"", `,"key_version":1`, `,"key_version":2`} {
		var agreed wire.DeriveSharedSecretReply
		w.must("derive-shared-secret", `{"key_id":"`+id+`","key_agreement_algorithm":"ECDH","public_key":"`+b64(peer)+`"`+version+`}`, &agreed)
		theirs, err := x509.ParsePKIXPublicKey(w.publicKeyOf(id, version))
		if err != nil {
			t.Fatal(err)
		}
		point, err := theirs.(interface {
			ECDH() (*ecdh.PublicKey, error)
		}).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		if want, err := mine.ECDH(point); err != nil || !bytes.Equal(want, agreed.SharedSecret) {
			t.Errorf("version %q agrees on another secret: %v", version, err)
		}
	}
}
