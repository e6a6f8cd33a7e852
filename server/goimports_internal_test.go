package server

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

func goExternal(t *testing.T, k *client.Client, spec string) string {
	t.Helper()
	id, err := k.CreateKey(t.Context(), client.NewKey{Name: "external-" + rand.Text(), Spec: spec, Origin: "external"})
	must(t, err)
	return id
}

// goState wants a key to be in a state.
func goState(t *testing.T, k *client.Client, id string, want client.KeyState) client.Key {
	t.Helper()
	key, err := k.DescribeKey(t.Context(), id)
	must(t, err)
	if key.State != want {
		t.Errorf("the key is %v, not %v", key.State, want)
	}
	return key
}

// Material comes by each algorithm, goes, and comes back as the same alone.
func goImportedSecret(t *testing.T, k *client.Client) {
	material := []byte("thirty-two bytes of key material")
	for _, algorithm := range []string{wrapping.OAEPSHA256, wrapping.OAEPSHA1, wrapping.PKCS1v15} {
		id := goExternal(t, k, "AES_256")
		goState(t, k, id, client.PendingImport)
		expires := time.Now().Add(time.Hour).Truncate(time.Second)
		must(t, k.ImportSecret(t.Context(), id, material, client.ImportOptions{Algorithm: algorithm, Expires: expires}))
		if key := goState(t, k, id, client.Enabled); !key.Expires.Equal(expires) {
			t.Errorf("%s: the material expires at %v, not %v", algorithm, key.Expires, expires)
		}
		sealed, err := k.EncryptData(t.Context(), id, []byte("text"), nil)
		must(t, err)
		must(t, k.DeleteMaterial(t.Context(), id))
		goState(t, k, id, client.PendingImport)
		if err := k.ImportSecret(t.Context(), id, bytes.Repeat([]byte{7}, 32), client.ImportOptions{}); !errors.Is(err, client.ErrMaterial) {
			t.Errorf("%s: other material: %v", algorithm, err)
		}
		goState(t, k, id, client.PendingImport)
		must(t, k.ImportSecret(t.Context(), id, material, client.ImportOptions{}))
		if key := goState(t, k, id, client.Enabled); !key.Expires.IsZero() {
			t.Errorf("%s: without an end the material expires at %v", algorithm, key.Expires)
		}
		if opened, _, err := k.DecryptData(t.Context(), sealed, nil); err != nil || string(opened) != "text" {
			t.Errorf("%s: opened %q, %v", algorithm, opened, err)
		}
	}
	id := goExternal(t, k, "AES_256")
	if err := k.ImportSecret(t.Context(), id, material[1:], client.ImportOptions{}); !errors.Is(err, client.ErrMaterial) {
		t.Errorf("31 bytes: %v", err)
	}
}

// A private key comes by way of a machine that has no network, and is the key's.
func goImportedPairs(t *testing.T, k *client.Client) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for spec, own := range map[string]crypto.Signer{"RSA_2048": rsaKey, "EC_P256": ecKey} {
		id := goExternal(t, k, spec)
		asked, err := k.ImportParameters(t.Context(), id, wrapping.OAEPSHA256)
		must(t, err)
		carried, err := json.Marshal(asked)
		must(t, err)
		var p client.ImportParameters
		must(t, json.Unmarshal(carried, &p))
		if left := time.Until(p.Expires); left < 23*time.Hour || p.KeyID != id {
			t.Errorf("%s: parameters of %s, good for another %v", spec, p.KeyID, left)
		}
		private, err := x509.MarshalPKCS8PrivateKey(own)
		must(t, err)
		w, err := wrapping.PrivateKey(p.Algorithm, p.PublicKey, private)
		must(t, err)
		other := p
		other.KeyID = goExternal(t, k, spec)
		if err := k.ImportMaterial(t.Context(), other, w, time.Time{}); !errors.Is(err, client.ErrImportToken) {
			t.Errorf("%s: with the parameters of another key: %v", spec, err)
		}
		must(t, k.ImportMaterial(t.Context(), p, w, time.Time{}))
		public, err := k.PublicKey(t.Context(), id, 0)
		must(t, err)
		if want, err := x509.MarshalPKIXPublicKey(own.Public()); err != nil || !bytes.Equal(public, want) {
			t.Errorf("%s: another public key", spec)
		}
	}
}
