package load_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/bench/load"
)

// verify checks a signature of layout A over host and date with a verifier of
// its own.
func verify(r *http.Request, body []byte) bool {
	h := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	date := r.Header.Get("X-Sdk-Date")
	canonical := "POST\n" + r.URL.Path + "/\n\nhost:" + r.Host + "\nx-sdk-date:" + date + "\n\nhost;x-sdk-date\n" + h(body)
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + date + "\n" + h([]byte(canonical))))
	return r.Header.Get("Authorization") == "SDK-HMAC-SHA256 Access=ak, SignedHeaders=host;x-sdk-date, Signature="+hex.EncodeToString(mac.Sum(nil))
}

func TestAPosterSendsSignedRequestsToEveryNode(t *testing.T) {
	var urls []string
	var counts [2]atomic.Int64
	pool := x509.NewCertPool()
	for i := range counts {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if !verify(r, body) || string(body) != `{"key_id":"k"}` {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			counts[i].Add(1)
			_, _ = io.WriteString(w, "answer")
		}))
		defer server.Close()
		urls = append(urls, server.URL)
		pool.AddCert(server.Certificate())
	}
	cfg := load.PosterConfig{
		URLs: urls, CA: pool, Path: "/v1.0/p/kms/create-datakey", Body: []byte(`{"key_id":"k"}`),
		AccessKey: "ak", SecretKey: "secret", Workers: 4,
	}
	poster, err := load.NewPoster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer poster.Close()
	for worker := range cfg.Workers {
		for range 3 {
			if err := poster.Call(context.Background(), worker); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(poster.Response(worker)); got != "answer" {
			t.Errorf("worker %d got %q", worker, got)
		}
	}
	if counts[0].Load() != 6 || counts[1].Load() != 6 {
		t.Errorf("the nodes got %d and %d calls", counts[0].Load(), counts[1].Load())
	}

	cfg.SecretKey = "wrong"
	refused, err := load.NewPoster(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Close()
	if err := refused.Call(context.Background(), 0); err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("a wrong signature: %v", err)
	}
}

func TestAPosterRefusesAddressesWithoutPort(t *testing.T) {
	for _, cfg := range []load.PosterConfig{
		{}, {URLs: []string{"https://host"}, Workers: 1}, {URLs: []string{"http://host:1"}, Workers: 1}, {URLs: []string{"https://host:1"}},
	} {
		if _, err := load.NewPoster(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}
