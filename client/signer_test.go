package client_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/client"
)

// holding returns a client of a node that has one key, and fails whatever else
// is asked of it than its public half.
func holding(t *testing.T, public any) *client.Client {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	if err != nil {
		t.Fatal(err)
	}
	return open(t, configure(newFake(t, func(w http.ResponseWriter, verb, _ string) {
		if verb != "get-publickey" {
			t.Errorf("%s was asked for", verb)
		}
		_, _ = io.WriteString(w, `{"key_id":"k","public_key":`+string(text)+`}`)
	})))
}

// What the service does not do with a key is refused before it is asked.
func TestWhatAHeldKeyDoesNotDo(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) *ecdsa.PublicKey {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &key.PublicKey
	}
	edwards, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := func(public any, opts crypto.SignerOpts) {
		t.Helper()
		signer, err := holding(t, public).Signer(t.Context(), "k", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signer.Sign(nil, make([]byte, 32), opts); !errors.Is(err, client.ErrAlgorithm) {
			t.Errorf("%T with %v: %v", public, opts, err)
		}
	}
	f(&rsaKey.PublicKey, crypto.SHA1)
	f(&rsaKey.PublicKey, crypto.Hash(0))
	f(&rsaKey.PublicKey, &rsa.PSSOptions{Hash: crypto.SHA256, SaltLength: 20})
	f(&rsaKey.PublicKey, &rsa.PSSOptions{Hash: crypto.SHA1, SaltLength: rsa.PSSSaltLengthEqualsHash})
	f(curve(elliptic.P256()), crypto.SHA384)
	f(curve(elliptic.P521()), crypto.SHA256)
	f(curve(elliptic.P224()), crypto.SHA256)
	f(edwards, crypto.SHA512)
	f(edwards, &ed25519.Options{Context: "c"})

	decrypter, err := holding(t, &rsaKey.PublicKey).Decrypter(t.Context(), "k", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range []crypto.DecrypterOpts{
		nil, "PKCS #1 v1.5", &rsa.OAEPOptions{Hash: crypto.SHA512}, &rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte{1}},
		&rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1},
	} {
		if _, err := decrypter.Decrypt(nil, nil, opts); !errors.Is(err, client.ErrAlgorithm) {
			t.Errorf("%v: %v", opts, err)
		}
	}
	own, err := holding(t, curve(elliptic.P256())).KeyExchanger(t.Context(), "k", 0)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.ECDH(peer.PublicKey()); err == nil || !strings.Contains(err.Error(), "another curve") {
		t.Errorf("got %v", err)
	}
	if _, err := holding(t, edwards).KeyExchanger(t.Context(), "k", 0); !errors.Is(err, client.ErrUsage) {
		t.Errorf("got %v", err)
	}
}
