package keypair_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/padding"
)

// hexBytes is how the vectors write bytes.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	raw, err := hex.DecodeString(s)
	*h = raw
	return err
}

type group struct {
	PublicKeyDer    hexBytes        `json:"publicKeyDer"`
	PrivateKeyPkcs8 hexBytes        `json:"privateKeyPkcs8"`
	SaltLength      int             `json:"sLen"`
	Tests           []vector        `json:"tests"`
	PublicKey       json.RawMessage `json:"publicKey"`
}

type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Message hexBytes `json:"msg"`
	Sig     hexBytes `json:"sig"`
	Cipher  hexBytes `json:"ct"`
	Label   hexBytes `json:"label"`
	Public  hexBytes `json:"public"`
	Private hexBytes `json:"private"`
	Shared  hexBytes `json:"shared"`
	Result  string   `json:"result"` // valid, invalid, acceptable
}

func vectors(t *testing.T, name string) []group {
	t.Helper()
	b, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []group `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) == 0 {
		t.Fatal("no vectors")
	}
	return file.Groups
}

func TestWycheproofVerify(t *testing.T) {
	f := func(name string, spec hsm.Spec, scheme hsm.Scheme) {
		t.Helper()
		for _, g := range vectors(t, name) {
			for _, v := range g.Tests {
				digest, err := keypair.Digest(spec, g.PublicKeyDer, scheme, v.Message)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				// Here any salt length is right, and an exponent of 3 is not.
				if strings.HasPrefix(v.Comment, "s_len changed") || slices.Contains(v.Flags, "SmallPublicKey") {
					continue
				}
				valid, err := keypair.Verify(spec, g.PublicKeyDer, scheme, digest, v.Sig)
				if err != nil || v.Result != "acceptable" && valid != (v.Result == "valid") {
					t.Errorf("%s: vector %d (%s, %v): %s, but valid %v, error %v", name, v.ID, v.Comment, v.Flags, v.Result, valid, err)
				}
			}
		}
	}
	f("ecdsa_secp256r1_sha256_test.json", hsm.SpecECP256, hsm.SchemeECDSASHA256)
	f("ecdsa_secp384r1_sha384_test.json", hsm.SpecECP384, hsm.SchemeECDSASHA384)
	f("ecdsa_secp521r1_sha512_test.json", hsm.SpecECP521, hsm.SchemeECDSASHA512)
	f("ecdsa_secp256k1_sha256_test.json", hsm.SpecSECP256K1, hsm.SchemeECDSASHA256)
	f("ed25519_test.json", hsm.SpecEd25519, hsm.SchemeEd25519)
	f("rsa_signature_2048_sha256_test.json", hsm.SpecRSA2048, hsm.SchemePKCS1SHA256)
	f("rsa_signature_3072_sha384_test.json", hsm.SpecRSA3072, hsm.SchemePKCS1SHA384)
	f("rsa_signature_4096_sha512_test.json", hsm.SpecRSA4096, hsm.SchemePKCS1SHA512)
	f("rsa_pss_2048_sha256_mgf1_32_test.json", hsm.SpecRSA2048, hsm.SchemePSSSHA256)
	f("rsa_pss_4096_sha512_mgf1_64_test.json", hsm.SpecRSA4096, hsm.SchemePSSSHA512)
}

// The vectors of OAEP go through the library and through the unpadding of this
// tree behind raw RSA, as a device computes it.
func TestWycheproofOAEP(t *testing.T) {
	f := func(name string, how hsm.Padding) {
		t.Helper()
		for _, g := range vectors(t, name) {
			parsed, err := x509.ParsePKCS8PrivateKey(g.PrivateKeyPkcs8)
			if err != nil {
				t.Fatal(err)
			}
			key := parsed.(*rsa.PrivateKey)
			for _, v := range g.Tests {
				opened, err := keypair.Decrypt(hsm.SpecRSA2048, g.PrivateKeyPkcs8, how, v.Label, v.Cipher)
				if (err == nil) != (v.Result == "valid") || err == nil && !bytes.Equal(opened, v.Message) {
					t.Errorf("%s: vector %d (%s): %s, but error %v", name, v.ID, v.Comment, v.Result, err)
				}
				block, whole := rawRSA(key, v.Cipher)
				if !whole {
					continue
				}
				message, ok := padding.UnpadOAEP(how.Hash(), v.Label, block)
				if ok != (v.Result == "valid") || ok && !bytes.Equal(message, v.Message) {
					t.Errorf("%s: vector %d (%s): %s, but unpadded: %v", name, v.ID, v.Comment, v.Result, ok)
				}
			}
		}
	}
	f("rsa_oaep_2048_sha256_mgf1sha256_test.json", hsm.PaddingOAEPSHA256)
	f("rsa_oaep_2048_sha1_mgf1sha1_test.json", hsm.PaddingOAEPSHA1)
}

// The unpadding of PKCS #1 v1.5 gives the message, or leaves what was there.
func TestWycheproofPKCS1(t *testing.T) {
	for _, g := range vectors(t, "rsa_pkcs1_2048_test.json") {
		parsed, err := x509.ParsePKCS8PrivateKey(g.PrivateKeyPkcs8)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.Tests {
			block, whole := rawRSA(parsed.(*rsa.PrivateKey), v.Cipher)
			if !whole {
				continue
			}
			before := bytes.Repeat([]byte{0x5a}, len(v.Message))
			dst := bytes.Clone(before)
			padding.UnpadPKCS1(dst, block)
			want := before
			if v.Result == "valid" {
				want = v.Message
			}
			if v.Result != "acceptable" && !bytes.Equal(dst, want) && len(v.Message) > 0 {
				t.Errorf("vector %d (%s): %s, but %x", v.ID, v.Comment, v.Result, dst)
			}
			longer := bytes.Repeat([]byte{0x5a}, len(v.Message)+1)
			padding.UnpadPKCS1(longer, block)
			if len(longer) <= len(block)-11 && !bytes.Equal(longer, bytes.Repeat([]byte{0x5a}, len(longer))) {
				t.Errorf("vector %d: a message of %d bytes is taken for one of %d", v.ID, len(v.Message), len(longer))
			}
		}
	}
}

// rawRSA is what CKM_RSA_X_509 gives; whole is false for what it refuses.
func rawRSA(key *rsa.PrivateKey, ciphertext []byte) (block []byte, whole bool) {
	c := new(big.Int).SetBytes(ciphertext)
	if len(ciphertext) != key.Size() || c.Cmp(key.N) >= 0 {
		return nil, false
	}
	return new(big.Int).Exp(c, key.D, key.N).FillBytes(make([]byte, key.Size())), true
}

func TestWycheproofAgree(t *testing.T) {
	f := func(name string, spec hsm.Spec, curve ecdh.Curve) {
		t.Helper()
		for _, g := range vectors(t, name) {
			for _, v := range g.Tests {
				private := privateOf(t, spec, curve, v.Private)
				if private == nil {
					continue
				}
				shared, err := keypair.Agree(spec, private, v.Public)
				switch {
				case v.Result == "valid" && (err != nil || !bytes.Equal(shared, v.Shared)):
					t.Errorf("%s: vector %d (%s): error %v", name, v.ID, v.Comment, err)
				case v.Result == "invalid" && err == nil:
					t.Errorf("%s: vector %d (%s, %v) is agreed to", name, v.ID, v.Comment, v.Flags)
				case v.Result == "acceptable" && err == nil && !bytes.Equal(shared, v.Shared):
					t.Errorf("%s: vector %d (%s): another secret", name, v.ID, v.Comment)
				}
			}
		}
	}
	f("ecdh_secp256r1_test.json", hsm.SpecECP256, ecdh.P256())
	f("ecdh_secp384r1_test.json", hsm.SpecECP384, ecdh.P384())
	f("ecdh_secp521r1_test.json", hsm.SpecECP521, ecdh.P521())
	f("ecdh_secp256k1_test.json", hsm.SpecSECP256K1, nil)
}

// privateOf makes PKCS#8 of a number.
func privateOf(t *testing.T, spec hsm.Spec, curve ecdh.Curve, number []byte) []byte {
	t.Helper()
	scalar := new(big.Int).SetBytes(number)
	if scalar.Sign() == 0 || scalar.BitLen() > spec.Bits() {
		return nil
	}
	if curve == nil {
		return secp256k1PKCS8(scalar.FillBytes(make([]byte, 32)))
	}
	key, err := curve.NewPrivateKey(scalar.FillBytes(make([]byte, (spec.Bits()+7)/8)))
	if err != nil {
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// secp256k1PKCS8 is by hand what RFC 5915 in RFC 5958 looks like, as OpenSSL
// writes it without the public key.
func secp256k1PKCS8(scalar []byte) []byte {
	der := []byte{0x30, 0x3e, 2, 1, 0, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x0a,
		4, 0x27, 0x30, 0x25, 2, 1, 1, 4, 0x20}
	return append(der, scalar...)
}
