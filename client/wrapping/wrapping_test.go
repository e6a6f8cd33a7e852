package wrapping_test

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/hsm/kwp"
)

var openers = map[string]func(key *rsa.PrivateKey, block []byte) ([]byte, error){
	wrapping.OAEPSHA256: func(key *rsa.PrivateKey, block []byte) ([]byte, error) {
		return rsa.DecryptOAEP(sha256.New(), nil, key, block, nil)
	},
	wrapping.OAEPSHA1: func(key *rsa.PrivateKey, block []byte) ([]byte, error) {
		return rsa.DecryptOAEP(sha1.New(), nil, key, block, nil)
	},
	wrapping.PKCS1v15: func(key *rsa.PrivateKey, block []byte) ([]byte, error) {
		return rsa.DecryptPKCS1v15(nil, key, block) //lint:ignore SA1019 what is wrapped with it has to open
	},
}

// What is wrapped opens with the standard library, and under the temporary key
// with another implementation of RFC 5649.
func TestWrapping(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	public := must(x509.MarshalPKIXPublicKey(key.Public()))
	for algorithm, open := range openers {
		w, err := wrapping.Secret(algorithm, public, []byte("thirty-two bytes of key material"))
		if err != nil || len(w.Material) != 256 || w.PrivateKey != nil {
			t.Fatalf("%s: %+v, %v", algorithm, w, err)
		}
		if secret, err := open(key, w.Material); err != nil || string(secret) != "thirty-two bytes of key material" {
			t.Errorf("%s: opens to %q, %v", algorithm, secret, err)
		}
		private := bytes.Repeat([]byte{7}, 1219) // no multiple of eight
		var before []byte
		for range 2 {
			if w, err = wrapping.PrivateKey(algorithm, public, private); err != nil {
				t.Fatal(err)
			}
			temporary, err := open(key, w.Material)
			if err != nil || len(temporary) != 32 || bytes.Equal(temporary, before) {
				t.Fatalf("%s: a temporary key of %d bytes, the one before again: %v, %v", algorithm, len(temporary), bytes.Equal(temporary, before), err)
			}
			if opened, err := kwp.Unwrap(must(aes.NewCipher(temporary)), w.PrivateKey); err != nil || !bytes.Equal(opened, private) {
				t.Errorf("%s: the private key does not open: %v", algorithm, err)
			}
			before = temporary
		}
	}
}

func TestWhatIsNotWrapped(t *testing.T) {
	public := must(x509.MarshalPKIXPublicKey(must(rsa.GenerateKey(rand.Reader, 2048)).Public()))
	curve := must(x509.MarshalPKIXPublicKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()))
	f := func(algorithm string, public, material []byte, want string) {
		t.Helper()
		for _, wrap := range []func(string, []byte, []byte) (wrapping.Wrapped, error){wrapping.Secret, wrapping.PrivateKey} {
			if _, err := wrap(algorithm, public, material); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	}
	f("SM2_ENCRYPT", public, make([]byte, 32), `"SM2_ENCRYPT" is not RSAES_OAEP_SHA_256`)
	f(wrapping.OAEPSHA256, curve, make([]byte, 32), "no RSA key")
	f(wrapping.OAEPSHA256, public[1:], make([]byte, 32), "reading the wrapping key")
	f(wrapping.OAEPSHA256, public, make([]byte, 8193), "wrapping")
}

func TestReadPrivateKey(t *testing.T) {
	rsaKey, ecKey := must(rsa.GenerateKey(rand.Reader, 2048)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsaDER, ecDER := must(x509.MarshalPKCS8PrivateKey(rsaKey)), must(x509.MarshalPKCS8PrivateKey(ecKey))
	block := func(kind string, der []byte, headers ...string) []byte {
		b := &pem.Block{Type: kind, Bytes: der, Headers: map[string]string{}}
		for _, name := range headers {
			b.Headers[name] = "x"
		}
		return pem.EncodeToMemory(b)
	}
	f := func(file, want []byte) {
		t.Helper()
		if got, err := wrapping.ReadPrivateKey(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%.30q: %v", file, err)
		}
	}
	f(rsaDER, rsaDER)
	f(block("PRIVATE KEY", ecDER), ecDER)
	f(append([]byte("Bag Attributes\n"), block("PRIVATE KEY", ecDER)...), ecDER)
	f(block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), rsaDER)
	sec1 := must(x509.MarshalECPrivateKey(ecKey))
	f(append(block("EC PARAMETERS", []byte{6, 1, 1}), block("EC PRIVATE KEY", sec1)...), ecDER)

	refused := func(file []byte, want string) {
		t.Helper()
		if _, err := wrapping.ReadPrivateKey(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, want %q", file, err, want)
		}
	}
	refused(nil, "neither PEM nor DER")
	refused([]byte("text"), "neither PEM nor DER")
	refused(block("PUBLIC KEY", rsaDER), "no PEM block")
	refused(block("ENCRYPTED PRIVATE KEY", rsaDER), "passphrase")
	refused(block("RSA PRIVATE KEY", rsaDER, "DEK-Info"), "passphrase")
	refused(block("EC PRIVATE KEY", []byte{1}), "openssl pkcs8")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(errors.Join(errors.New("preparing the test"), err))
	}
	return v
}
