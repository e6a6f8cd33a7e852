// Package pki makes the certificates by which the nodes of a cluster know one
// another: one CA per cluster, and one certificate per node that names cluster
// and node in a URI (raftkms://<cluster-id>/node/<node-id>).
//
// What it promises: a node's certificate says only what the caller of
// [SignNode] decided; nothing is copied from the request but its public key,
// and only after the request proved possession of the private one. All keys are
// ECDSA P-256, which every TLS client knows.
//
// What it never does: keep, log or write a key. Keys go in and out as PKCS #8,
// certificates as DER; who holds them is the caller's business.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

// Lifetimes to use when there is no reason for others.
const (
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	NodeLifetime      = 365 * 24 * time.Hour
)

// backdating lets a certificate be used at once by nodes whose clocks are
// somewhat behind that of the signer.
const backdating = 10 * time.Minute

// NewCA makes the self-signed CA of a cluster: certificate (DER) and private
// key (PKCS #8). It may sign node certificates only (path length 0).
func NewCA(clusterID string, now time.Time, lifetime time.Duration) (certDER, keyPKCS8 []byte, err error) {
	if err := CheckClusterID(clusterID); err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "raftkms cluster CA", Organization: []string{clusterID}},
		URIs:                  []*url.URL{authorityURI(clusterID)},
		NotBefore:             now.Add(-backdating),
		NotAfter:              now.Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	certDER, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("signing the CA certificate: %w", err)
	}
	keyPKCS8, err = x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the CA key: %w", err)
	}
	return certDER, keyPKCS8, nil
}

// NewNodeKey makes the private key of a node (PKCS #8). It is made where it is
// used and never leaves that node.
func NewNodeKey() (keyPKCS8 []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the node key: %w", err)
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// CSR makes a certificate request (PKCS #10, DER) that proves possession of
// key and asks for nothing: names are given by the signer.
func CSR(keyPKCS8 []byte) (csrDER []byte, err error) {
	key, err := parseKey(keyPKCS8)
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

// SignNode signs the certificate of a node of ca's cluster, for use as server
// and as client. hosts are the DNS names and IP addresses under which clients
// and nodes reach it; localhost, 127.0.0.1 and ::1 are always among them. Names
// in the request are ignored; its signature must prove possession of its key,
// which must be ECDSA P-256. The certificate never outlives its CA.
func SignNode(caDER, caKeyPKCS8, csrDER []byte, nodeID string, hosts []string, now time.Time, lifetime time.Duration) (certDER []byte, err error) {
	if err := CheckNodeID(nodeID); err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(caDER)
	if err != nil {
		return nil, fmt.Errorf("parsing the CA certificate: %w", err)
	}
	clusterID, err := AuthorityName(ca)
	if err != nil {
		return nil, err
	}
	caKey, err := parseKey(caKeyPKCS8)
	if err != nil {
		return nil, err
	}
	public, err := requestedKey(csrDER)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: nodeID, Organization: []string{clusterID}},
		URIs:         []*url.URL{NodeURI(clusterID, nodeID)},
		NotBefore:    now.Add(-backdating),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	for _, host := range append([]string{"localhost", "127.0.0.1", "::1"}, hosts...) {
		if ip := net.ParseIP(host); ip != nil {
			if !slices.ContainsFunc(template.IPAddresses, ip.Equal) {
				template.IPAddresses = append(template.IPAddresses, ip)
			}
		} else if !slices.Contains(template.DNSNames, host) {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certDER, err = x509.CreateCertificate(rand.Reader, template, ca, public, caKey)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of node %s: %w", nodeID, err)
	}
	return certDER, nil
}

// Issued is when a certificate of [SignNode] was signed, by the signer's clock
// and in whole seconds.
func Issued(cert *x509.Certificate) time.Time { return cert.NotBefore.Add(backdating) }

func requestedKey(csrDER []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("parsing the certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("checking the certificate request: %w", err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("the certificate request is not for an ECDSA P-256 key")
	}
	return public, nil
}

// Fingerprint is the SHA-256 of a public key in SubjectPublicKeyInfo form
// (x509.Certificate.RawSubjectPublicKeyInfo), by which a CA is pinned.
func Fingerprint(spki []byte) [32]byte { return sha256.Sum256(spki) }

func parseKey(pkcs8 []byte) (*ecdsa.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		// The parser's own words may quote the input.
		return nil, errors.New("the private key is not in PKCS #8 form")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not an ECDSA key")
	}
	return key, nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f // positive, so at most 16 bytes in DER
	b[0] |= 0x40 // and never zero
	return new(big.Int).SetBytes(b[:])
}
