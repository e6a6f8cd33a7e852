package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// scheme is the URI scheme of the names in our certificates.
const scheme = "raftkms"

// Longest names, in bytes: a node id is also a DNS label's worth, a cluster id
// a gossip label's.
const (
	maxNodeID    = 63
	maxClusterID = 64
)

// ErrName is wrapped by every refusal of a node or cluster id.
var ErrName = errors.New("not a valid name")

// CheckNodeID refuses what cannot name a node: 1 to 63 lower-case letters,
// digits, '-' and '.', with a letter or digit first and last.
func CheckNodeID(id string) error { return checkName("node id", id, maxNodeID) }

// CheckClusterID refuses what cannot name a cluster: 1 to 64 of the same
// characters as a node id.
func CheckClusterID(id string) error { return checkName("cluster id", id, maxClusterID) }

func checkName(what, name string, longest int) error {
	plain := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	ok := len(name) > 0 && len(name) <= longest && plain(name[0]) && plain(name[len(name)-1])
	for i := 0; ok && i < len(name); i++ {
		ok = plain(name[i]) || name[i] == '-' || name[i] == '.'
	}
	if !ok {
		return fmt.Errorf("%s %.80q: %w (lower-case letters, digits, '-' and '.', at most %d)", what, name, ErrName, longest)
	}
	return nil
}

// NodeURI is the name of a node in its certificate,
// raftkms://<cluster-id>/node/<node-id>.
func NodeURI(clusterID, nodeID string) *url.URL {
	return &url.URL{Scheme: scheme, Host: clusterID, Path: "/node/" + nodeID}
}

func authorityURI(clusterID string) *url.URL {
	return &url.URL{Scheme: scheme, Host: clusterID, Path: "/ca"}
}

// NodeName returns the cluster and the node that a certificate names. A
// certificate with no such name, or with more than one, is an error: it is not
// a node's.
func NodeName(cert *x509.Certificate) (clusterID, nodeID string, err error) {
	clusterID, path, err := soleURI(cert)
	if err != nil {
		return "", "", err
	}
	nodeID, ok := strings.CutPrefix(path, "/node/")
	if !ok {
		return "", "", errors.New("the certificate names no node of a raftkms cluster")
	}
	return clusterID, nodeID, errors.Join(CheckClusterID(clusterID), CheckNodeID(nodeID))
}

// AuthorityName returns the cluster whose CA a certificate is.
func AuthorityName(cert *x509.Certificate) (clusterID string, err error) {
	clusterID, path, err := soleURI(cert)
	if err != nil {
		return "", err
	}
	if path != "/ca" || !cert.IsCA {
		return "", errors.New("the certificate is not the CA of a raftkms cluster")
	}
	return clusterID, CheckClusterID(clusterID)
}

func soleURI(cert *x509.Certificate) (host, path string, err error) {
	if len(cert.URIs) != 1 || cert.URIs[0].Scheme != scheme {
		return "", "", errors.New("the certificate is not one of a raftkms cluster")
	}
	u := cert.URIs[0]
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", "", errors.New("the certificate's raftkms name is malformed")
	}
	return u.Host, u.Path, nil
}
