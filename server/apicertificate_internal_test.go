package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What renews the API's certificate writes its files, in any order and by any
// means; the node serves the new one when both fit, the old one until then.
func TestAPICertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certificateFile, keyFile := filepath.Join(dir, "api.crt"), filepath.Join(dir, "api.key")
	write := func(path string, text []byte) {
		t.Helper()
		must(t, os.WriteFile(path+".new", text, 0o600))
		must(t, os.Rename(path+".new", path))
	}
	oldCertificate, oldKey := apiPair(t, "old")
	newCertificate, newKey := apiPair(t, "new")
	write(certificateFile, oldCertificate)
	write(keyFile, oldKey)
	var logged bytes.Buffer
	a, err := newAPICertificate(certificateFile, keyFile, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	a.recheck = 0
	f := func(step, want string, warnings int) {
		t.Helper()
		for range 2 { // a warning comes once
			served, err := a.get(nil)
			if err != nil || served.Leaf.Subject.CommonName != want || !a.expires().Equal(served.Leaf.NotAfter) {
				t.Fatalf("%s: %v, %v, want %s", step, served.Leaf.Subject, err, want)
			}
		}
		if got := strings.Count(logged.String(), "level=WARN"); got != warnings {
			t.Fatalf("%s: %d warnings, want %d:\n%s", step, got, warnings, &logged)
		}
	}
	f("unchanged", "old", 0)
	write(certificateFile, newCertificate)
	f("a new certificate with the old key", "old", 1)
	write(keyFile, newKey)
	f("and its key", "new", 1)
	must(t, os.Remove(keyFile))
	f("without a key", "new", 1)
	write(keyFile, oldKey)
	f("another's key", "new", 2)
	write(certificateFile, []byte("no certificate"))
	f("no certificate", "new", 3)
	write(certificateFile, oldCertificate)
	f("the first pair again", "old", 3)
	if strings.Contains(logged.String(), "PRIVATE") {
		t.Error("a key was logged")
	}

	a.recheck = time.Hour
	write(certificateFile, newCertificate)
	write(keyFile, newKey)
	f("not looked at yet", "old", 3)

	write(keyFile, oldKey)
	if _, err := newAPICertificate(certificateFile, keyFile, slog.Default()); err == nil || !strings.Contains(err.Error(), "the API's certificate") {
		t.Errorf("a node that starts with files that are no pair: %v", err)
	}
}

// apiPair makes a certificate and its key, in PEM.
func apiPair(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"kms.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", pkcs8)
}
