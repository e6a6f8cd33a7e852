package clustertest

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
)

// Authority is the CA of a test's cluster.
type Authority struct {
	ClusterID     string
	CertDER       []byte
	KeyPKCS8      []byte
	PublicKeyHash [32]byte // what a joiner pins
}

// NewAuthority makes a CA.
func NewAuthority(t testing.TB, clusterID string) Authority {
	t.Helper()
	certDER, key, err := pki.NewCA(clusterID, time.Now(), pki.AuthorityLifetime)
	if err != nil {
		t.Fatalf("making a CA: %v", err)
	}
	cert, err := x509.ParseCertificate(certDER)
	if err != nil {
		t.Fatalf("parsing the CA: %v", err)
	}
	return Authority{ClusterID: clusterID, CertDER: certDER, KeyPKCS8: key, PublicKeyHash: pki.Fingerprint(cert.RawSubjectPublicKeyInfo)}
}

// Issue makes a key and a certificate for a node.
func (a Authority) Issue(t testing.TB, nodeID string) (certDER, keyPKCS8 []byte) {
	t.Helper()
	keyPKCS8, err := pki.NewNodeKey()
	if err != nil {
		t.Fatalf("making a node key: %v", err)
	}
	csr, err := pki.CSR(keyPKCS8)
	if err != nil {
		t.Fatalf("making a certificate request: %v", err)
	}
	certDER, err = pki.SignNode(a.CertDER, a.KeyPKCS8, csr, nodeID, nil, time.Now(), pki.NodeLifetime)
	if err != nil {
		t.Fatalf("signing a certificate: %v", err)
	}
	return certDER, keyPKCS8
}

// Identity makes the identity of a node.
func (a Authority) Identity(t testing.TB, nodeID string) *transport.Identity {
	t.Helper()
	certDER, key := a.Issue(t, nodeID)
	id, err := transport.NewIdentity(a.ClusterID, nodeID, certDER, key, a.CertDER)
	if err != nil {
		t.Fatalf("making an identity: %v", err)
	}
	return id
}
