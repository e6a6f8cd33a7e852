package keypair_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	KeySize         int             `json:"keySize"`
	Hash            string          `json:"sha"`
	MaskHash        string          `json:"mgfSha"`
	SaltLength      int             `json:"sLen"`
	Tests           []vector        `json:"tests"`
	PublicKey       json.RawMessage `json:"publicKey"`
}

// rsaSpec is the spec of the group's RSA keys; false for a size that no spec has.
func (g group) rsaSpec() (hsm.Spec, bool) {
	spec := hsm.Spec(fmt.Sprintf("RSA_%d", g.KeySize))
	return spec, spec.Family() == hsm.FamilyRSA
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
		Tests  int     `json:"numberOfTests"`
		Groups []group `json:"testGroups"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range file.Groups {
		n += len(g.Tests)
	}
	if n == 0 || n != file.Tests {
		t.Fatalf("%s: %d vectors, and it says %d", name, n, file.Tests)
	}
	return file.Groups
}

func TestWycheproofVerify(t *testing.T) {
	f := func(name string, spec hsm.Spec, scheme hsm.Scheme) {
		t.Helper()
		tried := 0
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
				tried++
				valid, err := keypair.Verify(spec, g.PublicKeyDer, scheme, digest, v.Sig)
				if err != nil || v.Result != "acceptable" && valid != (v.Result == "valid") {
					t.Errorf("%s: vector %d (%s, %v): %s, but valid %v, error %v", name, v.ID, v.Comment, v.Flags, v.Result, valid, err)
				}
			}
		}
		if tried < 100 {
			t.Errorf("%s: %d vectors were verified", name, tried)
		}
	}
	f("ecdsa_secp256r1_sha256_test.json", hsm.SpecECP256, hsm.SchemeECDSASHA256)
	f("ecdsa_secp384r1_sha384_test.json", hsm.SpecECP384, hsm.SchemeECDSASHA384)
	f("ecdsa_secp521r1_sha512_test.json", hsm.SpecECP521, hsm.SchemeECDSASHA512)
	f("ecdsa_secp256k1_sha256_test.json", hsm.SpecSECP256K1, hsm.SchemeECDSASHA256)
	f("ed25519_test.json", hsm.SpecEd25519, hsm.SchemeEd25519)
	f("rsa_signature_2048_sha256_test.json", hsm.SpecRSA2048, hsm.SchemePKCS1SHA256)
	f("rsa_signature_2048_sha384_test.json", hsm.SpecRSA2048, hsm.SchemePKCS1SHA384)
	f("rsa_signature_2048_sha512_test.json", hsm.SpecRSA2048, hsm.SchemePKCS1SHA512)
	f("rsa_signature_3072_sha256_test.json", hsm.SpecRSA3072, hsm.SchemePKCS1SHA256)
	f("rsa_signature_3072_sha384_test.json", hsm.SpecRSA3072, hsm.SchemePKCS1SHA384)
	f("rsa_signature_3072_sha512_test.json", hsm.SpecRSA3072, hsm.SchemePKCS1SHA512)
	f("rsa_signature_4096_sha256_test.json", hsm.SpecRSA4096, hsm.SchemePKCS1SHA256)
	f("rsa_signature_4096_sha384_test.json", hsm.SpecRSA4096, hsm.SchemePKCS1SHA384)
	f("rsa_signature_4096_sha512_test.json", hsm.SpecRSA4096, hsm.SchemePKCS1SHA512)
	f("rsa_pss_2048_sha256_mgf1_32_test.json", hsm.SpecRSA2048, hsm.SchemePSSSHA256)
	f("rsa_pss_2048_sha384_mgf1_48_test.json", hsm.SpecRSA2048, hsm.SchemePSSSHA384)
	f("rsa_pss_3072_sha256_mgf1_32_test.json", hsm.SpecRSA3072, hsm.SchemePSSSHA256)
	f("rsa_pss_4096_sha256_mgf1_32_test.json", hsm.SpecRSA4096, hsm.SchemePSSSHA256)
	f("rsa_pss_4096_sha384_mgf1_48_test.json", hsm.SpecRSA4096, hsm.SchemePSSSHA384)
	f("rsa_pss_4096_sha512_mgf1_64_test.json", hsm.SpecRSA4096, hsm.SchemePSSSHA512)
}

// PKCS #1 v1.5 signs without chance, so there is one right signature, and what a
// device is given to pad (the named digest) is in it.
func TestWycheproofSign(t *testing.T) {
	schemes := map[string]hsm.Scheme{"SHA-256": hsm.SchemePKCS1SHA256, "SHA-384": hsm.SchemePKCS1SHA384, "SHA-512": hsm.SchemePKCS1SHA512}
	f := func(name string, spec hsm.Spec) {
		t.Helper()
		tried := 0
		for _, g := range vectors(t, name) {
			scheme, known := schemes[g.Hash]
			key := rsaKey(t, g.PrivateKeyPkcs8)
			for _, v := range g.Tests {
				if !known || slices.Contains(v.Flags, "SmallPublicKey") {
					continue
				}
				tried++
				digest, err := keypair.Digest(spec, nil, scheme, v.Message)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				signature, err := keypair.Sign(spec, g.PrivateKeyPkcs8, scheme, digest)
				if err != nil || !bytes.Equal(signature, v.Sig) {
					t.Errorf("%s: vector %d (%s): another signature, error %v", name, v.ID, v.Comment, err)
				}
				named, err := padding.DigestInfo(scheme.Hash(), digest)
				padded := new(big.Int).Exp(new(big.Int).SetBytes(v.Sig), big.NewInt(int64(key.E)), key.N).Bytes()
				if err != nil || !bytes.HasSuffix(padded, append([]byte{0xff, 0}, named...)) {
					t.Errorf("%s: vector %d (%s): another named digest, error %v", name, v.ID, v.Comment, err)
				}
			}
		}
		if tried < 24 {
			t.Errorf("%s: %d vectors were signed", name, tried)
		}
	}
	f("rsa_pkcs1_2048_sig_gen_test.json", hsm.SpecRSA2048)
	f("rsa_pkcs1_3072_sig_gen_test.json", hsm.SpecRSA3072)
	f("rsa_pkcs1_4096_sig_gen_test.json", hsm.SpecRSA4096)
}

// The vectors of OAEP go through the library and through the unpadding of this
// tree behind raw RSA, as a device computes it. Sizes of keys that no spec has are
// unpadded all the same.
func TestWycheproofOAEP(t *testing.T) {
	paddings := map[[2]string]hsm.Padding{{"SHA-256", "SHA-256"}: hsm.PaddingOAEPSHA256, {"SHA-1", "SHA-1"}: hsm.PaddingOAEPSHA1}
	// agrees tells whether that is the right answer to the vector.
	agrees := func(v vector, opened []byte, opens bool) bool {
		return (opens == (v.Result == "valid") || v.Result == "acceptable") && (!opens || bytes.Equal(opened, v.Message))
	}
	f := func(name string, least int) {
		t.Helper()
		tried := 0
		for _, g := range vectors(t, name) {
			how, known := paddings[[2]string{g.Hash, g.MaskHash}]
			if !known {
				continue
			}
			spec, is := g.rsaSpec()
			key := rsaKey(t, g.PrivateKeyPkcs8)
			for _, v := range g.Tests {
				tried++
				if is {
					opened, err := keypair.Decrypt(spec, g.PrivateKeyPkcs8, how, v.Label, v.Cipher)
					if !agrees(v, opened, err == nil) {
						t.Errorf("%s: vector %d (%s): %s, but error %v", name, v.ID, v.Comment, v.Result, err)
					}
				}
				block, whole := rawRSA(key, v.Cipher)
				if !whole {
					continue
				}
				if message, ok := padding.UnpadOAEP(how.Hash(), v.Label, block); !agrees(v, message, ok) {
					t.Errorf("%s: vector %d (%s): %s, but unpadded: %v", name, v.ID, v.Comment, v.Result, ok)
				}
			}
		}
		if tried < least {
			t.Errorf("%s: %d vectors were tried", name, tried)
		}
	}
	f("rsa_oaep_2048_sha256_mgf1sha256_test.json", 35)
	f("rsa_oaep_2048_sha1_mgf1sha1_test.json", 35)
	f("rsa_oaep_3072_sha256_mgf1sha256_test.json", 35)
	f("rsa_oaep_4096_sha256_mgf1sha256_test.json", 35)
	f("rsa_oaep_misc_test.json", 40)
}

// Both ways of taking off PKCS #1 v1.5, the library's and that of this tree behind
// raw RSA, give the message or leave what was there.
func TestWycheproofPKCS1(t *testing.T) {
	f := func(name string, spec hsm.Spec) {
		t.Helper()
		for _, g := range vectors(t, name) {
			key := rsaKey(t, g.PrivateKeyPkcs8)
			for _, v := range g.Tests {
				block, whole := rawRSA(key, v.Cipher)
				open := func(dst []byte) bool {
					before := bytes.Clone(dst)
					err := keypair.DecryptPKCS1(spec, g.PrivateKeyPkcs8, dst, v.Cipher)
					if !whole || err != nil {
						// What is no number below the modulus both refuse, and too long a message.
						return bytes.Equal(dst, before) && (!whole || len(dst) > len(block)-11)
					}
					padding.UnpadPKCS1(before, block)
					return bytes.Equal(before, dst)
				}
				kept := bytes.Repeat([]byte{0x5a}, len(v.Message))
				dst := bytes.Clone(kept)
				if !open(dst) {
					t.Errorf("%s: vector %d (%s): the two ways differ", name, v.ID, v.Comment)
				}
				want := kept
				if v.Result == "valid" {
					want = v.Message
				}
				if v.Result != "acceptable" && !bytes.Equal(dst, want) {
					t.Errorf("%s: vector %d (%s): %s, but %x", name, v.ID, v.Comment, v.Result, dst)
				}
				longer := bytes.Repeat([]byte{0x5a}, len(v.Message)+1)
				if !open(longer) || !bytes.Equal(longer, bytes.Repeat([]byte{0x5a}, len(longer))) {
					t.Errorf("%s: vector %d: a message of %d bytes is taken for one of %d", name, v.ID, len(v.Message), len(longer))
				}
			}
		}
	}
	f("rsa_pkcs1_2048_test.json", hsm.SpecRSA2048)
	f("rsa_pkcs1_3072_test.json", hsm.SpecRSA3072)
	f("rsa_pkcs1_4096_test.json", hsm.SpecRSA4096)
}

func rsaKey(t *testing.T, pkcs8 []byte) *rsa.PrivateKey {
	t.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.(*rsa.PrivateKey)
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
