package transport

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/cluster/pki"
)

// ALPN protocols of the cluster port.
const (
	protocolRaft = "raftkms-raft/1"
	protocolRPC  = "h2"
	protocolJoin = "raftkms-join/1"
)

// Identity is who a node is to its peers: a certificate that names cluster and
// node, its key, and the CAs of the cluster. Certificate and CAs may be
// replaced while connections are made; those made before keep what they had.
type Identity struct {
	clusterID, nodeID string
	admitted          atomic.Pointer[func(nodeID string, spki [32]byte, issued time.Time) bool]
	vouched           atomic.Pointer[func() time.Time]
	current           atomic.Pointer[credentials]
}

// credentials are what one handshake uses. Immutable.
type credentials struct {
	certificate tls.Certificate // leaf, then the CA that signed it: a joiner looks for the CA it has pinned
	cas         *x509.CertPool
}

// NewIdentity checks that cert is a certificate of that node, signed by one of
// cas and valid now, and that key belongs to it. All are DER, the key PKCS #8.
func NewIdentity(clusterID, nodeID string, certDER, keyPKCS8 []byte, casDER ...[]byte) (*Identity, error) {
	id := &Identity{clusterID: clusterID, nodeID: nodeID}
	if err := id.Replace(certDER, keyPKCS8, casDER...); err != nil {
		return nil, err
	}
	return id, nil
}

// Replace swaps certificate, key and CAs after the checks of [NewIdentity].
// While a CA is rolled over, both the old and the new one are given.
func (id *Identity) Replace(certDER, keyPKCS8 []byte, casDER ...[]byte) error {
	leaf, err := x509.ParseCertificate(certDER)
	if err != nil {
		return fmt.Errorf("parsing the node's certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil {
		return errors.New("the node's private key is not in PKCS #8 form")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the node's private key does not belong to its certificate")
	}
	pool := x509.NewCertPool()
	for _, der := range casDER {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("parsing the cluster's CA: %w", err)
		}
		if name, err := pki.AuthorityName(ca); err != nil {
			return err
		} else if name != id.clusterID {
			return fmt.Errorf("the CA is that of cluster %s, not of %s", name, id.clusterID)
		}
		pool.AddCert(ca)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("checking the node's certificate against the cluster's CA: %w", timely(err))
	}
	if err := id.checkName(leaf, id.nodeID); err != nil {
		return err
	}
	issuer := chains[0][len(chains[0])-1]
	id.current.Store(&credentials{
		certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw, issuer.Raw}, PrivateKey: key, Leaf: leaf},
		cas:         pool,
	})
	return nil
}

// NodeID is the node's name in the cluster.
func (id *Identity) NodeID() string { return id.nodeID }

// ClusterID is the name of the cluster.
func (id *Identity) ClusterID() string { return id.clusterID }

// Expires is the end of validity of the certificate in use.
func (id *Identity) Expires() time.Time { return id.current.Load().certificate.Leaf.NotAfter }

// SetAdmitted installs a further check on every peer whose certificate is good:
// false refuses it. spki is the SHA-256 of its public key, issued when the
// certificate was signed. It is called during handshakes, so it must be quick.
func (id *Identity) SetAdmitted(f func(nodeID string, spki [32]byte, issued time.Time) bool) {
	id.admitted.Store(&f)
}

// SetVouchedTime installs what knows the time where this machine's clock may be
// wrong; zero: it does not know. A node that is called may show a certificate that
// is valid then, and not by our clock. It is called during handshakes, so it must
// be quick.
func (id *Identity) SetVouchedTime(f func() time.Time) { id.vouched.Store(&f) }

// verify checks the certificate of a node that was called.
func (id *Identity) verify(leaf *x509.Certificate, options x509.VerifyOptions) error {
	_, err := leaf.Verify(options)
	invalid, is := errors.AsType[x509.CertificateInvalidError](err)
	vouched := id.vouched.Load()
	if !is || invalid.Reason != x509.Expired || vouched == nil {
		return err
	}
	if options.CurrentTime = (*vouched)(); options.CurrentTime.IsZero() {
		return err
	}
	_, err = leaf.Verify(options)
	return err
}

// GetCertificate serves the current certificate; it fits tls.Config.
func (id *Identity) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return &id.current.Load().certificate, nil
}

// TLSConfigServer is the server side of the cluster port: TLS 1.3, and which
// client certificate is asked for depends on the protocol that the client
// offers. One that offers to join can do nothing else and shows none; all
// others must be nodes of this cluster.
func (id *Identity) TLSConfigServer() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := id.current.Load()
			config := &tls.Config{
				MinVersion:             tls.VersionTLS13,
				Certificates:           []tls.Certificate{c.certificate},
				SessionTicketsDisabled: true, // a resumed session would skip the checks of today
			}
			for _, offered := range hello.SupportedProtos {
				if offered == protocolJoin {
					config.NextProtos = []string{protocolJoin}
					return config, nil
				}
			}
			config.NextProtos = []string{protocolRaft, protocolRPC}
			config.ClientAuth = tls.RequireAndVerifyClientCert
			config.ClientCAs = c.cas
			config.VerifyConnection = func(state tls.ConnectionState) error {
				_, err := id.checkPeer(state.PeerCertificates[0])
				return err
			}
			return config, nil
		},
	}
}

// TLSConfigClient is the client side of a connection to one node: the peer's
// certificate must be signed by a CA of this cluster and name exactly nodeID.
// Host names are not looked at: the name of a node is its identity, wherever it
// is reached.
func (id *Identity) TLSConfigClient(nodeID, protocol string) *tls.Config {
	c := id.current.Load()
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{protocol},
		Certificates:           []tls.Certificate{c.certificate},
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // replaced, not dropped: VerifyConnection checks chain and node
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the peer shows no certificate")
			}
			leaf := state.PeerCertificates[0]
			intermediates := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			if err := id.verify(leaf, x509.VerifyOptions{
				Roots:         c.cas,
				Intermediates: intermediates,
				KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			}); err != nil {
				return fmt.Errorf("checking the certificate of node %s: %w", nodeID, timely(err))
			}
			if state.NegotiatedProtocol != protocol {
				return fmt.Errorf("node %s does not speak %s", nodeID, protocol)
			}
			if err := id.checkName(leaf, nodeID); err != nil {
				return err
			}
			_, err := id.checkPeer(leaf)
			return err
		},
	}
}

// checkName refuses a certificate that is not that of one node of the cluster.
func (id *Identity) checkName(cert *x509.Certificate, want string) error {
	clusterID, nodeID, err := pki.NodeName(cert)
	if err != nil {
		return err
	}
	if clusterID != id.clusterID || nodeID != want {
		return fmt.Errorf("the certificate is that of node %s of cluster %s, not of node %s of cluster %s", nodeID, clusterID, want, id.clusterID)
	}
	return nil
}

// checkPeer returns the node that a verified certificate names, or refuses it:
// another cluster's, or one that is not admitted.
func (id *Identity) checkPeer(cert *x509.Certificate) (nodeID string, err error) {
	clusterID, nodeID, err := pki.NodeName(cert)
	if err != nil {
		return "", err
	}
	if clusterID != id.clusterID {
		return "", fmt.Errorf("node %s is of cluster %s, not of %s: look which addresses it was configured with, and give each cluster its own", nodeID, clusterID, id.clusterID)
	}
	if admitted := id.admitted.Load(); admitted != nil && !(*admitted)(nodeID, pki.Fingerprint(cert.RawSubjectPublicKeyInfo), pki.Issued(cert)) {
		return "", fmt.Errorf("node %s with that key is not admitted to cluster %s", nodeID, clusterID)
	}
	return nodeID, nil
}
