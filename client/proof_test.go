package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// Each way of proving who asks puts into a request what it should, and nothing
// of the others.
func TestProofs(t *testing.T) {
	var got *http.Request
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		_, _ = w.Write([]byte(`{"keys":[],"key_details":[],"next_marker":"","truncated":"false","total":0}`))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	ca := x509.NewCertPool()
	ca.AddCert(server.Certificate())
	asked := 0
	text := func(s string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { asked++; return s, err }
	}
	f := func(name string, set func(c *client.Config), token, authorization string, certificates int) {
		t.Helper()
		cfg := client.Config{Endpoints: []string{server.URL}, CA: ca, ProjectID: "p", Patience: time.Second}
		set(&cfg)
		c, err := client.New(cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer c.Close()
		if _, err := c.ListKeys(t.Context(), client.ListOptions{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Header.Get("X-Auth-Token") != token || !strings.HasPrefix(got.Header.Get("Authorization"), authorization) ||
			(authorization == "") != (got.Header.Get("Authorization") == "") || len(got.TLS.PeerCertificates) != certificates {
			t.Errorf("%s: %v with %d certificates", name, got.Header, len(got.TLS.PeerCertificates))
		}
	}
	certificate := selfSigned(t)
	f("a signature", func(c *client.Config) { c.AccessKey, c.SecretKey = "A", "S" }, "", "SDK-HMAC-SHA256 Access=A", 0)
	f("a token", func(c *client.Config) { c.Token = text("T", nil) }, "T", "", 0)
	f("a bearer token", func(c *client.Config) { c.Bearer = text("B", nil) }, "", "Bearer B", 0)
	f("a certificate", func(c *client.Config) { c.Certificate = certificate }, "", "", 1)
	f("a certificate and a signature", func(c *client.Config) { c.Certificate, c.AccessKey, c.SecretKey = certificate, "A", "S" }, "", "SDK-HMAC-SHA256 Access=A", 1)

	refused := func(want string, set func(c *client.Config)) {
		t.Helper()
		cfg := client.Config{Endpoints: []string{server.URL}, CA: ca, ProjectID: "p"}
		set(&cfg)
		if _, err := client.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused("is needed", func(*client.Config) {})
	refused("go together", func(c *client.Config) { c.AccessKey = "A" })
	refused("exclude one another", func(c *client.Config) { c.AccessKey, c.SecretKey, c.Token = "A", "S", text("T", nil) })
	refused("exclude one another", func(c *client.Config) { c.Bearer, c.Token = text("B", nil), text("T", nil) })

	// What keeps a token from being got is told, and nothing is sent.
	got, asked = nil, 0
	c, err := client.New(client.Config{Endpoints: []string{server.URL}, CA: ca, ProjectID: "p", Patience: time.Second, Token: text("", errNoToken)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ListKeys(t.Context(), client.ListOptions{}); !errors.Is(err, errNoToken) || got != nil || asked != 1 {
		t.Errorf("without a token: %v after %d tries", err, asked)
	}
}

var errNoToken = errors.New("the token service is closed")

func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
