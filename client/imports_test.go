package client_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

// What the calls about imports send, and what they make of the answer.
func TestImports(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	f := node.exchange
	f(`get-parameters-for-import {"key_id":"alias/n","wrapping_algorithm":"RSAES_OAEP_SHA_1"}`, `{"key_id":"k","import_token":"AQ==","expiration_time":1600000000,"public_key":"Ag=="}`,
		client.ImportParameters{KeyID: "k", Algorithm: wrapping.OAEPSHA1, Token: []byte{1}, PublicKey: []byte{2}, Expires: time.Date(2020, 9, 13, 12, 26, 40, 0, time.UTC)},
		func() (any, error) { return c.ImportParameters(t.Context(), "alias/n", wrapping.OAEPSHA1) })
	given := client.ImportParameters{KeyID: "k", Token: []byte{1}}
	f(`import-key-material {"key_id":"k","import_token":"AQ==","encrypted_key_material":"Ag=="}`, `{}`, nil,
		func() (any, error) {
			return nil, c.ImportMaterial(t.Context(), given, wrapping.Wrapped{Material: []byte{2}}, time.Time{})
		})
	f(`import-key-material {"key_id":"k","import_token":"AQ==","encrypted_key_material":"Ag==","encrypted_privatekey":"Aw==","expiration_time":"1600000000"}`, `{}`, nil,
		func() (any, error) {
			return nil, c.ImportMaterial(t.Context(), given, wrapping.Wrapped{Material: []byte{2}, PrivateKey: []byte{3}}, time.Unix(1600000000, 1))
		})
	f(`delete-imported-key-material {"key_id":"k"}`, `{}`, nil, func() (any, error) { return nil, c.DeleteMaterial(t.Context(), "k") })
}

// What is imported in one go is wrapped here, under the key that was given for it.
func TestImportInOneGo(t *testing.T) {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		t.Fatal(err)
	}
	node := newFake(t, nil)
	node.answer = func(w http.ResponseWriter, verb, body string) {
		if verb == "get-parameters-for-import" {
			_, _ = io.WriteString(w, `{"key_id":"k","import_token":"AQ==","expiration_time":1600000000,"public_key":"`+base64.StdEncoding.EncodeToString(public)+`"}`)
			return
		}
		var given struct {
			KeyID    string `json:"key_id"`
			Token    []byte `json:"import_token"`
			Material []byte `json:"encrypted_key_material"`
			Private  []byte `json:"encrypted_privatekey"`
			Expires  string `json:"expiration_time"`
		}
		if err := json.Unmarshal([]byte(body), &given); err != nil {
			t.Error(err)
		}
		secret, err := rsa.DecryptOAEP(sha256.New(), nil, pair, given.Material, nil)
		if err != nil || len(secret) != 32 || given.KeyID != "k" || given.Expires != "1600000000" || string(given.Token) != "\x01" {
			t.Errorf("%s: %d bytes, %v", body, len(secret), err)
		}
		if given.Private == nil && string(secret) != "thirty-two bytes of key material" {
			t.Errorf("the material is %q", secret)
		}
		_, _ = io.WriteString(w, `{}`)
	}
	c := open(t, configure(node))
	o := client.ImportOptions{Expires: time.Unix(1600000000, 0)}
	if err := c.ImportSecret(t.Context(), "alias/n", []byte("thirty-two bytes of key material"), o); err != nil {
		t.Error(err)
	}
	if err := c.ImportPrivateKey(t.Context(), "alias/n", make([]byte, 138), o); err != nil {
		t.Error(err)
	}
	var verbs []string
	for _, sent := range node.seen() {
		verb, _, _ := strings.Cut(sent, " ")
		verbs = append(verbs, verb)
	}
	const ask, bring = "get-parameters-for-import", "import-key-material"
	if diff := cmp.Diff(verbs, []string{ask, bring, ask, bring}); diff != "" {
		t.Error("sent: -got +want\n" + diff)
	}
	if err := c.ImportSecret(t.Context(), "alias/n", make([]byte, 1000), o); err == nil || len(node.seen()) != 5 {
		t.Errorf("what cannot be wrapped: %v, after %d requests", err, len(node.seen()))
	}
}

func TestCausesOfRefusedImports(t *testing.T) {
	f := func(code string, cause error) {
		t.Helper()
		node := newFake(t, nil)
		node.answer = func(w http.ResponseWriter, _, _ string) { refuse(w, http.StatusBadRequest, code, "") }
		err := open(t, configure(node)).DeleteMaterial(t.Context(), "k")
		for _, one := range []error{client.ErrImportToken, client.ErrMaterial} {
			if got := errors.Is(err, one); got != (one == cause) {
				t.Errorf("%s is %v: %v", code, one, got)
			}
		}
	}
	for _, code := range []string{"KMS.2601", "KMS.2603", "KMS.2605"} {
		f(code, client.ErrImportToken)
	}
	for _, code := range []string{"KMS.0311", "KMS.2604", "KMS.2606", "KMS.2608", "KMS.2609", "KMS.2610"} {
		f(code, client.ErrMaterial)
	}
	f("KMS.0310", nil)
}
