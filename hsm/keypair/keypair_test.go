package keypair_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/padding"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What another library makes and reads of SM2 keys is what this package does.
func TestSM2Encodings(t *testing.T) {
	private, public, err := keypair.Generate(hsm.SpecSM2)
	ok(t, err)
	parsed, err := smx509.ParsePKCS8PrivateKey(private)
	ok(t, err)
	key := parsed.(*sm2.PrivateKey)
	theirs, err := smx509.MarshalPKIXPublicKey(&key.PublicKey)
	ok(t, err)
	if !bytes.Equal(theirs, public) {
		t.Errorf("the public key is encoded as %x, not %x", public, theirs)
	}
	// Theirs also carries the curve and the public key inside.
	again, err := smx509.MarshalPKCS8PrivateKey(key)
	ok(t, err)
	if got, err := keypair.Public(hsm.SpecSM2, again); err != nil || !bytes.Equal(got, public) {
		t.Errorf("theirs read back: error %v", err)
	}
	message := []byte("message")
	digest, err := keypair.Digest(hsm.SpecSM2, public, hsm.SchemeSM2, message)
	ok(t, err)
	signature, err := keypair.Sign(hsm.SpecSM2, private, hsm.SchemeSM2, digest)
	ok(t, err)
	if !sm2.VerifyASN1WithSM2(&key.PublicKey, nil, message, signature) {
		t.Error("another verifier refuses the signature over the message")
	}
}

// A key is of one spec, in one encoding.
func TestParsingRefuses(t *testing.T) {
	pairs := make(map[hsm.Spec][2][]byte)
	for _, spec := range hsm.Specs() {
		if spec.Pair() && spec != hsm.SpecRSA3072 && spec != hsm.SpecRSA4096 {
			private, public, err := keypair.Generate(spec)
			ok(t, err)
			pairs[spec] = [2][]byte{private, public}
		}
	}
	for spec, pair := range pairs {
		for other := range pairs {
			if _, err := keypair.Public(other, pair[0]); (err == nil) != (spec == other) {
				t.Errorf("a private key of %s as %s: %v", spec, other, err)
			} else if err != nil && !errors.Is(err, keypair.ErrPrivateKey) {
				t.Errorf("a private key of %s as %s: %v", spec, other, err)
			}
			if err := keypair.CheckPublic(other, pair[1]); (err == nil) != (spec == other) || err != nil && !errors.Is(err, hsm.ErrPublicKey) {
				t.Errorf("a public key of %s as %s: %v", spec, other, err)
			}
		}
		for name, public := range map[string][]byte{
			"empty": nil, "trailing byte": append(bytes.Clone(pair[1]), 0), "cut": pair[1][:len(pair[1])-1], "long": make([]byte, keypair.MaxPublic+1),
		} {
			if err := keypair.CheckPublic(spec, public); !errors.Is(err, hsm.ErrPublicKey) {
				t.Errorf("%s: %s: %v", spec, name, err)
			}
		}
		for name, private := range map[string][]byte{"empty": nil, "cut": pair[0][:len(pair[0])-1], "long": make([]byte, keypair.MaxPrivate+1)} {
			if _, err := keypair.Public(spec, private); !errors.Is(err, keypair.ErrPrivateKey) {
				t.Errorf("%s: %s: %v", spec, name, err)
			}
		}
	}
	weak := rsa.PublicKey{N: new2048(t).N, E: 3}
	der, err := x509.MarshalPKIXPublicKey(&weak)
	ok(t, err)
	if err := keypair.CheckPublic(hsm.SpecRSA2048, der); !errors.Is(err, hsm.ErrPublicKey) {
		t.Errorf("a public exponent of 3: %v", err)
	}
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	ok(t, err)
	der, err = x509.MarshalPKIXPublicKey(&small.PublicKey)
	ok(t, err)
	for _, spec := range hsm.Specs() {
		if err := keypair.CheckPublic(spec, der); !errors.Is(err, hsm.ErrPublicKey) {
			t.Errorf("P-224 as %s: %v", spec, err)
		}
	}
}

func new2048(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ok(t, err)
	return key
}

// The padding for devices without PSS is what the standard library verifies.
func TestPadPSS(t *testing.T) {
	key := new2048(t)
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		h := hash.New()
		h.Write([]byte("message"))
		em, err := padding.PadPSS(hash, h.Sum(nil), 2048)
		ok(t, err)
		signature, whole := rawRSA(key, em)
		if !whole {
			t.Fatal("the padded digest is too large")
		}
		if err := rsa.VerifyPSS(&key.PublicKey, hash, h.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}); err != nil {
			t.Errorf("%v: %v", hash, err)
		}
	}
	if _, err := padding.PadPSS(crypto.SHA256, make([]byte, 31), 2048); err == nil {
		t.Error("a digest of 31 bytes is padded")
	}
	if _, err := padding.DigestInfo(crypto.SHA1, make([]byte, 20)); err == nil {
		t.Error("a SHA-1 digest is named")
	}
}

func FuzzPublicKey(f *testing.F) {
	for _, spec := range hsm.Specs() {
		if spec.Pair() && spec.Family() != hsm.FamilyRSA {
			_, public, err := keypair.Generate(spec)
			ok(f, err)
			f.Add(string(spec), public)
		}
	}
	digest := sha256.Sum256(nil)
	f.Fuzz(func(t *testing.T, spec string, der []byte) {
		if err := keypair.CheckPublic(hsm.Spec(spec), der); err != nil {
			if !errors.Is(err, hsm.ErrPublicKey) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, scheme := range hsm.Schemes() {
			if !scheme.Fits(hsm.Spec(spec)) || !scheme.TakesDigest(32) {
				continue
			}
			if valid, err := keypair.Verify(hsm.Spec(spec), der, scheme, digest[:], der); err != nil || valid {
				t.Fatalf("%s: valid %v, error %v", scheme, valid, err)
			}
		}
	})
}

func FuzzPrivateKey(f *testing.F) {
	for _, spec := range hsm.Specs() {
		if spec.Pair() && spec.Family() != hsm.FamilyRSA {
			private, _, err := keypair.Generate(spec)
			ok(f, err)
			f.Add(string(spec), private)
		}
	}
	f.Fuzz(func(t *testing.T, spec string, der []byte) {
		public, err := keypair.Public(hsm.Spec(spec), der)
		if err != nil {
			return
		}
		if err := keypair.CheckPublic(hsm.Spec(spec), public); err != nil {
			t.Fatalf("the public half of a key that was taken is refused: %v", err)
		}
	})
}
