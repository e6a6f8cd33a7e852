package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
	"github.com/raftkms/raftkms/fsm/command"
)

// The CA's private key is in the replicated state, sealed under root-seal, so
// every node whose module holds the roots can sign: custody of the CA is
// custody of the roots. Node certificates run for a year and are renewed by
// their node when a third of that is left; the API and cluster ports take the
// new one without a restart.

const (
	callRenew     = "certificate.renew"
	renewalPeriod = 12 * time.Hour
	renewalPause  = time.Minute // after an attempt that did not succeed
)

// certificateRequest asks for a certificate for the key of a signing request.
type certificateRequest struct {
	CSR   []byte   `cbor:"1,keyasint"` // DER
	Hosts []string `cbor:"2,keyasint"`
}

// certificateReply carries the certificate and every CA that is trusted.
type certificateReply struct {
	Certificate []byte   `cbor:"1,keyasint"` // DER
	Authorities [][]byte `cbor:"2,keyasint"` // DER
}

// newNodeKey makes a node's key pair and a request to sign it.
func newNodeKey() (keyPKCS8, csr []byte, err error) {
	if keyPKCS8, err = pki.NewNodeKey(); err != nil {
		return nil, nil, fmt.Errorf("making this node's key: %w", err)
	}
	if csr, err = pki.CSR(keyPKCS8); err != nil {
		return nil, nil, fmt.Errorf("making this node's certificate request: %w", err)
	}
	return keyPKCS8, csr, nil
}

// nodeInfo is what this node says of itself when it is admitted.
func (s *Server) nodeInfo(certificate, transportKey []byte) (command.NodeInfo, error) {
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return command.NodeInfo{}, fmt.Errorf("reading this node's certificate: %w", err)
	}
	return s.nodeInfoOfKey(parsed.RawSubjectPublicKeyInfo, transportKey), nil
}

func (s *Server) nodeInfoOfKey(publicKey, transportKey []byte) command.NodeInfo {
	tlsKey := sha256.Sum256(publicKey)
	info := command.NodeInfo{
		ID:             s.cfg.NodeID,
		TLSKey:         tlsKey[:],
		ClusterAddress: s.cfg.ClusterAdvertise,
		APIURL:         s.cfg.APIURL,
		GossipAddress:  s.cfg.GossipAdvertise,
		ModuleKind:     s.cfg.Module.Describe().Kind,
		Standby:        s.cfg.Standby,
		Program:        s.program(),
	}
	if transportKey != nil {
		fingerprint := sha256.Sum256(transportKey)
		info.TransportKey = fingerprint[:]
	}
	return info
}

// signingTime is when certificates count as signed: by the members' clocks, and
// not by this node's alone, or one whose clock is a year off would give joiners
// certificates that are of no use to anybody. It is no older than the last command
// that this node has applied, and as new as what the leader has said since.
func (s *Server) signingTime(m *member) time.Time {
	replicated := time.UnixMilli(s.machine.State().Now())
	leader := m.node.LeaderTime()
	if m.node.IsLeader() {
		leader = m.node.Now()
	}
	if leader.After(replicated) {
		return leader
	}
	return replicated
}

// sign makes a certificate for an admitted node. The CA's key is in the clear
// only while this runs.
func (s *Server) sign(ctx context.Context, m *member, nodeID string, csr []byte, hosts []string) (*certificateReply, error) {
	c := s.machine.State().Cluster()
	if c == nil {
		return nil, errors.New("the cluster is not initialised")
	}
	caKey, err := m.seal.open(ctx, sealCAKey, c.ID, c.SealedCAKey)
	if err != nil {
		return nil, fmt.Errorf("opening the CA's key: %w", err)
	}
	defer clear(caKey)
	certificate, err := pki.SignNode(c.CACertificates[0], caKey, csr, nodeID, hosts, s.signingTime(m), nodeLifetime)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of node %s: %w", nodeID, err)
	}
	return &certificateReply{Certificate: certificate, Authorities: c.CACertificates}, nil
}

// answerRenewal signs anew for a member that already has a certificate. It
// goes on the peer's proved identity and signs only for the key it was
// admitted with, by the newest state: other members take whoever was vouched for
// lately, though they know him as removed.
func (s *Server) answerRenewal(ctx context.Context, m *member, peer string, body []byte) ([]byte, error) {
	var req certificateRequest
	if err := cbor.Unmarshal(body, &req); err != nil {
		return nil, fmt.Errorf("decoding a certificate request: %w", err)
	}
	parsed, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	key := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	if err := m.service.Current(ctx); err != nil {
		return nil, fmt.Errorf("renewing the certificate of node %s: %w", peer, err)
	}
	node, ok := s.machine.State().Node(peer)
	if !ok || string(node.TLSKey) != string(key[:]) {
		return nil, fmt.Errorf("node %s asks for a certificate for a key it was not admitted with", peer)
	}
	reply, err := s.sign(ctx, m, peer, req.CSR, req.Hosts)
	if err != nil {
		return nil, err
	}
	return cbor.Marshal(reply)
}

// renewCertificate keeps this node's certificate from running out.
func (s *Server) renewCertificate(ctx context.Context, m *member) {
	for {
		pause := renewalPeriod
		if due, err := s.renewalDue(); err != nil || due {
			if err == nil {
				err = s.renewOnce(ctx, m)
			}
			if err != nil {
				s.cfg.Logger.Warn("renewing this node's certificate", "error", err)
				pause = renewalPause
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// renewalDue says whether the certificate is to be renewed.
func (s *Server) renewalDue() (bool, error) {
	der, err := readPEM(filepath.Join(s.cfg.DataDir, nodeCertFile), "CERTIFICATE")
	if err != nil {
		return false, err
	}
	certificate, err := x509.ParseCertificate(der[0])
	if err != nil {
		return false, fmt.Errorf("reading this node's certificate: %w", err)
	}
	return renewalDueOf(certificate, certificateHosts(s.cfg.APIURL, s.cfg.ClusterAdvertise)), nil
}

// renewalDueOf: less than a third of its life is left, or it does not name where
// the node is reached by now.
func renewalDueOf(certificate *x509.Certificate, hosts []string) bool {
	for _, host := range hosts {
		if certificate.VerifyHostname(host) != nil {
			return true
		}
	}
	life := certificate.NotAfter.Sub(certificate.NotBefore)
	return time.Until(certificate.NotAfter) < life/3
}

// untimely says what to do where this node's clock and its certificate do not
// fit: no member renews that of a node which was off for too long.
func (s *Server) untimely(err error) error {
	if _, is := errors.AsType[*transport.ValidityError](err); !is {
		return err
	}
	return fmt.Errorf("%w: set the clock right and start the node again; if it is right, take the node out of the cluster (`kmsctl cluster remove %s` at another member), empty its data directory and have it join again; if that is so of all members, start them with clocks set back to before that end, so that they renew, and set the clocks right then", err, s.cfg.NodeID)
}

func (s *Server) renewOnce(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, foundingTimeout)
	defer cancel()
	m.certificates.Lock()
	defer m.certificates.Unlock()
	creds, err := loadCredentials(s.cfg.DataDir)
	if err != nil {
		return err
	}
	csr, err := pki.CSR(creds.keyPKCS8)
	if err != nil {
		return fmt.Errorf("making a certificate request: %w", err)
	}
	body, err := cbor.Marshal(certificateRequest{CSR: csr, Hosts: certificateHosts(s.cfg.APIURL, s.cfg.ClusterAdvertise)})
	if err != nil {
		return fmt.Errorf("encoding a certificate request: %w", err)
	}
	raw, err := m.node.CallLeader(ctx, callRenew, body)
	if err != nil {
		return fmt.Errorf("asking the leader to sign: %w", err)
	}
	var reply certificateReply
	if err := cbor.Unmarshal(raw, &reply); err != nil {
		return fmt.Errorf("decoding the leader's answer: %w", err)
	}
	creds.certificate, creds.authorities = reply.Certificate, reply.Authorities
	if err := m.identity.Replace(creds.certificate, creds.keyPKCS8, creds.authorities...); err != nil {
		if _, is := errors.AsType[*transport.ValidityError](err); is {
			err = fmt.Errorf("%w: set this node's clock right", err)
		}
		return fmt.Errorf("taking the new certificate: %w", err)
	}
	return creds.saveCertificate(s.cfg.DataDir)
}
