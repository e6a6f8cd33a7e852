package server

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/client"
)

// goClient is the Go client of the cluster, each call on the next node.
func (c *trio) goClient() *client.Client {
	c.t.Helper()
	k, err := client.New(c.goConfig())
	must(c.t, err)
	c.t.Cleanup(k.Close)
	return k
}

// goConfig is how that client reaches the cluster.
func (c *trio) goConfig() client.Config {
	c.t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.founded.CACertificate)) {
		c.t.Fatal("the cluster's CA is no PEM")
	}
	cfg := client.Config{CA: pool, AccessKey: c.founded.AccessKey, SecretKey: c.founded.SecretKey, ProjectID: c.founded.ProjectID}
	for _, s := range c.nodes {
		cfg.Endpoints = append(cfg.Endpoints, s.cfg.APIURL)
	}
	return cfg
}

// The Go client does what a key of each kind is for, and what it brings back is
// what another implementation makes of it.
func TestGoClient(t *testing.T) {
	c := newTrio(t)
	k := c.goClient()
	made := func(spec, usage string) string {
		t.Helper()
		id, err := k.CreateKey(t.Context(), client.NewKey{Name: rand.Text(), Spec: spec, Usage: usage})
		must(t, err)
		return id
	}
	t.Run("signatures", func(t *testing.T) { goSignatures(t, k, made) })
	t.Run("MACs", func(t *testing.T) { goMACs(t, k, made("HMAC_256", "")) })
	rsaKey, aes := made("RSA_2048", "ENCRYPT_DECRYPT"), made("AES_256", "")
	t.Run("data under pairs", func(t *testing.T) { goDataUnderPairs(t, k, rsaKey) })
	t.Run("re-encryption", func(t *testing.T) { goReEncryption(t, k, aes, made("AES_256", "ENCRYPT_DECRYPT"), rsaKey) })
	t.Run("data key pairs", func(t *testing.T) { goDataKeyPairs(t, k, aes) })
	t.Run("shared secrets", func(t *testing.T) { goSharedSecrets(t, k, made("EC_P384", "KEY_AGREEMENT")) })
	t.Run("data keys under SM4", func(t *testing.T) { goSM4(t, k) })
	t.Run("keys of the standard library", func(t *testing.T) { goStandardKeys(t, k, made) })
	t.Run("imported secrets", func(t *testing.T) { goImportedSecret(t, k) })
	t.Run("imported pairs", func(t *testing.T) { goImportedPairs(t, k) })
}

func goSignatures(t *testing.T, k *client.Client, made func(spec, usage string) string) {
	message := []byte("a message")
	digest := sha256.Sum256(message)
	f := func(spec string, o client.SignOptions, holds func(public any, signature []byte) bool) {
		t.Helper()
		id := made(spec, "")
		what := digest[:]
		if o.Raw {
			what = message
		}
		signature, err := k.Sign(t.Context(), id, what, o)
		must(t, err)
		der, err := k.PublicKey(t.Context(), id, 1)
		must(t, err)
		public, err := x509.ParsePKIXPublicKey(der)
		must(t, err)
		if !holds(public, signature) {
			t.Errorf("%s: the signature does not hold", spec)
		}
		if valid, err := k.Verify(t.Context(), id, what, signature, o); err != nil || !valid {
			t.Errorf("%s: valid: %v, %v", spec, valid, err)
		}
		signature[len(signature)-1] ^= 1
		if valid, err := k.Verify(t.Context(), id, what, signature, o); err != nil || valid {
			t.Errorf("%s: altered, valid: %v, %v", spec, valid, err)
		}
		wrong := o
		wrong.Algorithm = "SM2DSA_SM3"
		if _, err := k.Sign(t.Context(), id, what, wrong); !errors.Is(err, client.ErrAlgorithm) {
			t.Errorf("%s with the algorithm of another: %v", spec, err)
		}
	}
	f("EC_P256", client.SignOptions{Algorithm: "ECDSA_SHA_256"}, func(public any, signature []byte) bool {
		return ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature)
	})
	f("RSA_2048", client.SignOptions{Algorithm: "RSASSA_PSS_SHA_256", Version: 1}, func(public any, signature []byte) bool {
		return rsa.VerifyPSS(public.(*rsa.PublicKey), crypto.SHA256, digest[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	})
	f("ED25519", client.SignOptions{Algorithm: "ED25519", Raw: true}, func(public any, signature []byte) bool {
		return ed25519.Verify(public.(ed25519.PublicKey), message, signature)
	})
}

func goMACs(t *testing.T, k *client.Client, id string) {
	mac, err := k.GenerateMAC(t.Context(), id, []byte("message"), "HMAC_SHA_256")
	must(t, err)
	for message, want := range map[string]bool{"message": true, "massage": false} {
		if valid, err := k.VerifyMAC(t.Context(), id, []byte(message), mac, "HMAC_SHA_256"); err != nil || valid != want {
			t.Errorf("%s: %v, %v", message, valid, err)
		}
	}
	if _, err := k.Sign(t.Context(), id, []byte("message"), client.SignOptions{Algorithm: "ED25519", Raw: true}); !errors.Is(err, client.ErrUsage) {
		t.Errorf("signing with a key for MACs: %v", err)
	}
}

func goDataUnderPairs(t *testing.T, k *client.Client, id string) {
	under := client.Under{Key: id, Algorithm: "RSAES_OAEP_SHA_256"}
	ciphertext, err := k.EncryptDataUnder(t.Context(), []byte("text"), under)
	must(t, err)
	plaintext, key, err := k.DecryptDataUnder(t.Context(), ciphertext, under)
	if err != nil || string(plaintext) != "text" || key != id {
		t.Errorf("%q of %s, %v", plaintext, key, err)
	}
	der, err := k.PublicKey(t.Context(), id, 0)
	must(t, err)
	public, err := x509.ParsePKIXPublicKey(der)
	must(t, err)
	ciphertext, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, public.(*rsa.PublicKey), []byte{0xff}, nil)
	must(t, err)
	if plaintext, _, err := k.DecryptDataUnder(t.Context(), ciphertext, under); err != nil || !bytes.Equal(plaintext, []byte{0xff}) {
		t.Errorf("what was encrypted elsewhere: %x, %v", plaintext, err)
	}
	under.Algorithm = "SM2_ENCRYPT"
	if _, err := k.EncryptDataUnder(t.Context(), []byte("text"), under); !errors.Is(err, client.ErrAlgorithm) {
		t.Errorf("with the algorithm of another: %v", err)
	}
}

func goReEncryption(t *testing.T, k *client.Client, from, to, pair string) {
	first := map[string]string{"a": "1"}
	ciphertext, err := k.EncryptData(t.Context(), from, []byte("text"), first)
	must(t, err)
	moved, err := k.ReEncryptData(t.Context(), ciphertext, client.Under{Context: first}, client.Under{Key: to, AAD: "b"})
	if err != nil || moved.KeyID != to || moved.From != from {
		t.Fatalf("%+v, %v", moved, err)
	}
	under := client.Under{Key: pair, Algorithm: "RSAES_OAEP_SHA_1"}
	moved, err = k.ReEncryptData(t.Context(), moved.Ciphertext, client.Under{Key: to, AAD: "b"}, under)
	must(t, err)
	if plaintext, _, err := k.DecryptDataUnder(t.Context(), moved.Ciphertext, under); err != nil || string(plaintext) != "text" {
		t.Errorf("%q, %v", plaintext, err)
	}
	if _, err := k.ReEncryptData(t.Context(), ciphertext, client.Under{}, client.Under{Key: to}); !errors.Is(err, client.ErrCiphertext) {
		t.Errorf("without its context: %v", err)
	}
	dataKey, err := k.CreateDataKey(t.Context(), from, client.DataKeyOptions{Bytes: 16, Context: first})
	must(t, err)
	moved, err = k.ReEncryptDataKey(t.Context(), dataKey.Ciphertext, 16, client.Under{Context: first}, client.Under{Key: to, Context: first})
	must(t, err)
	if opened, err := k.DecryptDataKey(t.Context(), to, moved.Ciphertext, client.DataKeyOptions{Bytes: 16, Context: first}); err != nil || !bytes.Equal(opened, dataKey.Plaintext) {
		t.Errorf("another data key comes back: %v", err)
	}
}

func goDataKeyPairs(t *testing.T, k *client.Client, id string) {
	for spec, bound := range map[string]client.DataKeyOptions{"RSA_2048": {Context: map[string]string{"a": "1"}}, "ECC_NIST_P256": {AAD: "a"}} {
		pair, err := k.CreateDataKeyPair(t.Context(), id, spec, bound)
		must(t, err)
		private, err := x509.ParsePKCS8PrivateKey(pair.Private)
		must(t, err)
		public, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil || !bytes.Equal(public, pair.Public) || pair.KeyID != id || pair.Spec != spec {
			t.Errorf("%s: the halves do not belong together: %v", spec, err)
		}
		if opened, _, err := k.DecryptDataUnder(t.Context(), pair.Ciphertext, client.Under{Context: bound.Context, AAD: bound.AAD}); err != nil || !bytes.Equal(opened, pair.Private) {
			t.Errorf("%s: another private key comes back: %v", spec, err)
		}
		if hidden, err := k.CreateDataKeyPairWithoutPlaintext(t.Context(), id, spec, client.DataKeyOptions{}); err != nil || hidden.Private != nil || len(hidden.Ciphertext) == 0 {
			t.Errorf("%s: %v, %d bytes of the private key are shown", spec, err, len(hidden.Private))
		}
	}
}

func goSharedSecrets(t *testing.T, k *client.Client, id string) {
	der, err := k.PublicKey(t.Context(), id, 0)
	must(t, err)
	public, err := x509.ParsePKIXPublicKey(der)
	must(t, err)
	theirs, err := public.(*ecdsa.PublicKey).ECDH()
	must(t, err)
	ours, err := ecdh.P384().GenerateKey(rand.Reader)
	must(t, err)
	want, err := ours.ECDH(theirs)
	must(t, err)
	peer, err := x509.MarshalPKIXPublicKey(ours.PublicKey())
	must(t, err)
	if secret, err := k.DeriveSharedSecret(t.Context(), id, peer, 0); err != nil || !bytes.Equal(secret, want) {
		t.Errorf("another secret: %v", err)
	}
	if _, err := k.DeriveSharedSecret(t.Context(), id, peer[:len(peer)-1], 0); err == nil || !strings.Contains(err.Error(), "public key") {
		t.Errorf("with half a public key: %v", err)
	}
}

func goSM4(t *testing.T, k *client.Client) {
	id, err := k.CreateKey(t.Context(), client.NewKey{Name: "sm4", Spec: "SM4", Level: "SOFTWARE"})
	must(t, err)
	sealed, err := k.EncryptDataKey(t.Context(), id, []byte("sixteen byte key"), client.DataKeyOptions{})
	must(t, err)
	if opened, err := k.DecryptDataKey(t.Context(), id, sealed, client.DataKeyOptions{Bytes: 16}); err != nil || string(opened) != "sixteen byte key" {
		t.Errorf("opened %q, %v", opened, err)
	}
}
