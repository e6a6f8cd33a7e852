package iam

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/raftkms/raftkms/fsm/state"
)

// What an issuer withdraws is believed for a quarter of an hour at most; while it
// does not answer, what it said last counts for a day.
func TestAnIssuerIsAskedAgain(t *testing.T) {
	var down atomic.Bool
	var key atomic.Pointer[ecdsa.PrivateKey]
	var asked atomic.Int64
	server := httptest.NewUnstartedServer(nil)
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		switch {
		case down.Load():
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		case r.URL.Path == "/.well-known/openid-configuration":
			asked.Add(1)
			answer = map[string]string{"issuer": server.URL, "jwks_uri": server.URL + "/keys"}
		default:
			answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Load().Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	server.StartTLS()
	defer server.Close()

	now := time.Unix(1_700_000_000, 0)
	s := newIssuers(func() time.Time { return now })
	provider := &state.Provider{ID: "issuer", Issuer: server.URL, Audience: "kms", Certificate: server.Certificate().Raw}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	token := func(k *ecdsa.PrivateKey) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
		if err != nil {
			t.Fatal(err)
		}
		payload, err := json.Marshal(map[string]any{"iss": server.URL, "aud": "kms", "sub": "ada", "exp": now.Add(48 * time.Hour).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		object, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		text, err := object.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	f := func(step, text string, want bool) {
		t.Helper()
		v, err := s.verifier(t.Context(), provider)
		if err == nil {
			_, err = v.Verify(t.Context(), text)
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", step, err)
		}
	}
	first, second := newKey(), newKey()
	key.Store(first)
	old := token(first)
	f("at first", old, true)
	key.Store(second)
	now = now.Add(issuerFresh - time.Second)
	f("within the quarter of an hour", old, true)
	now = now.Add(time.Second)
	f("a key that was withdrawn", old, false)
	fresh := token(second)
	f("the new key", fresh, true)
	down.Store(true)
	now = now.Add(issuerFresh)
	f("the issuer is down", fresh, true)
	f("and is not asked all the time", fresh, true)
	if got := asked.Load(); got != 2 {
		t.Errorf("asked %d times, want 2 that were answered", got)
	}
	now = now.Add(issuerUsable)
	f("down for a day", fresh, false)
	down.Store(false)
	now = now.Add(issuerPause)
	f("up again", fresh, true)
}
