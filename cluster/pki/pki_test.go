package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/pki"
)

var now = time.Now()

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func authority(t *testing.T, lifetime time.Duration) (certDER, key []byte) {
	t.Helper()
	certDER, key, err := pki.NewCA("blue", now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return certDER, key
}

func TestSignNode(t *testing.T) {
	caDER, caKey := authority(t, pki.AuthorityLifetime)
	ca := must(x509.ParseCertificate(caDER))(t)
	if name, err := pki.AuthorityName(ca); err != nil || name != "blue" {
		t.Fatalf("the CA is that of %q, %v", name, err)
	}
	if !ca.IsCA || ca.MaxPathLen != 0 || !ca.MaxPathLenZero {
		t.Fatalf("CA %v, path length %d", ca.IsCA, ca.MaxPathLen)
	}
	// The request asks for names that it must not get.
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "admin"}, DNSNames: []string{"evil.example"},
	}, key))(t)
	der := must(pki.SignNode(caDER, caKey, csr, "node-1", []string{"kms.example", "10.0.0.1", "localhost"}, now, pki.NodeLifetime))(t)
	cert := must(x509.ParseCertificate(der))(t)
	if cluster, node, err := pki.NodeName(cert); err != nil || cluster != "blue" || node != "node-1" {
		t.Fatalf("names %q %q, %v", cluster, node, err)
	}
	if !slices.Equal(cert.DNSNames, []string{"localhost", "kms.example"}) || len(cert.IPAddresses) != 3 || cert.Subject.CommonName != "node-1" {
		t.Fatalf("names %v %v %v", cert.Subject, cert.DNSNames, cert.IPAddresses)
	}
	if cert.IsCA || !key.PublicKey.Equal(cert.PublicKey) {
		t.Fatal("a CA, or another key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, name := range []string{"kms.example", "10.0.0.1", "127.0.0.1", "::1", "localhost"} {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("usage %v as %s: %v", usage, name, err)
			}
		}
	}
	if _, _, err := pki.NodeName(ca); err == nil {
		t.Error("the CA's certificate names a node")
	}
	if _, err := pki.AuthorityName(cert); err == nil {
		t.Error("a node's certificate is that of a CA")
	}
}

func TestCertificateEndsWithCA(t *testing.T) {
	caDER, caKey := authority(t, 24*time.Hour)
	key := must(pki.NewNodeKey())(t)
	csr := must(pki.CSR(key))(t)
	der := must(pki.SignNode(caDER, caKey, csr, "a", nil, now, pki.NodeLifetime))(t)
	if got, want := must(x509.ParseCertificate(der))(t).NotAfter, must(x509.ParseCertificate(caDER))(t).NotAfter; !got.Equal(want) {
		t.Fatalf("valid until %v, the CA until %v", got, want)
	}
}

func TestSignNodeRefuses(t *testing.T) {
	caDER, caKey := authority(t, pki.AuthorityLifetime)
	key := must(pki.NewNodeKey())(t)
	csr := must(pki.CSR(key))(t)
	f := func(name string, ca, caKey, csr []byte, node string) {
		t.Helper()
		if _, err := pki.SignNode(ca, caKey, csr, node, nil, now, time.Hour); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	forged := slices.Clone(csr)
	forged[len(forged)-1] ^= 1
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	other := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384))(t)
	node := must(pki.SignNode(caDER, caKey, csr, "a", nil, now, time.Hour))(t)
	f("a forged request", caDER, caKey, forged, "a")
	f("another kind of key", caDER, caKey, other, "a")
	f("no request", caDER, caKey, nil, "a")
	f("a node as CA", node, key, csr, "b")
	f("another CA's key", caDER, key, csr, "b")
	f("a bad name", caDER, caKey, csr, "a/b")
}

func TestNames(t *testing.T) {
	f := func(id string, ok bool) {
		t.Helper()
		err := pki.CheckNodeID(id)
		if (err == nil) != ok || err != nil && !errors.Is(err, pki.ErrName) {
			t.Errorf("%q: %v", id, err)
		}
	}
	f("a", true)
	f("node-1.eu.example", true)
	f("0", true)
	f("", false)
	f("A", false)
	f("-a", false)
	f("a.", false)
	f("a_b", false)
	f("a@b", false)
	f("ä", false)
	f(string(make([]byte, 64)), false)
	f("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false)
	if got, want := pki.NodeURI("blue", "a").String(), "raftkms://blue/node/a"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
