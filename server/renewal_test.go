package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/hsm/soft"
	"github.com/raftkms/raftkms/server/wire"
)

// startFounder runs a node that has founded a cluster of its own, until the
// test ends.
func startFounder(t *testing.T, change ...func(*Config)) *Server {
	t.Helper()
	s, _ := startFounderOf(t, change...)
	return s
}

// startFounderOf returns the first administrator as well.
func startFounderOf(t *testing.T, change ...func(*Config)) (*Server, *wire.InitReply) {
	t.Helper()
	s := startEmpty(t, change...)
	founded, err := s.found(t.Context(), wire.InitRequest{Region: "r-1", DomainName: "d", UserName: "u"})
	if err != nil {
		t.Fatal(err)
	}
	return s, founded
}

// startEmpty runs a node without a cluster, until the test ends.
func startEmpty(t *testing.T, change ...func(*Config)) *Server {
	t.Helper()
	dir := t.TempDir()
	module, err := soft.Open(t.Context(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		NodeID: "n1", DataDir: filepath.Join(dir, "data"), AdminSocket: filepath.Join(dir, "s"), Version: "test", Module: module,
		APIListen: freeAddress(t), ClusterListen: freeAddress(t), GossipListen: freeAddress(t),
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the node ended with: %v", err)
		}
		if err := module.Close(); err != nil {
			t.Error(err)
		}
	})
	awaitAdmin(t, s)
	return s
}

// awaitAdmin waits until Run has begun: the admin socket answers from then on.
func awaitAdmin(t *testing.T, s *Server) {
	t.Helper()
	conn, err := net.Dial("unix", s.cfg.AdminSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET " + wire.AdminPathStatus + " HTTP/1.1\r\nHost: n1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is a place that nothing listens at, by TCP or UDP, and that nobody
// else gets from here until the test ends: a server takes some of its places
// late. It is below the ports that the kernel gives to outgoing connections,
// which could take it before whoever asked does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(12_000 + rand.IntN(20_000))
		claim, err := net.Listen("unix", "@raftkms-test-"+port) // an abstract name: gone with the process
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		address := net.JoinHostPort("127.0.0.1", port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		packets, err := net.ListenPacket("udp", address)
		_ = listener.Close()
		if err != nil {
			continue
		}
		_ = packets.Close()
		return address
	}
	t.Fatal("no port is free")
	return ""
}

func TestCertificateIsRenewedWhileServing(t *testing.T) {
	s := startFounder(t)
	m := s.member.Load()
	if due, err := s.renewalDue(); due || err != nil {
		t.Fatalf("a fresh certificate is due: %v, error %v", due, err)
	}
	before, err := loadCredentials(s.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.renewOnce(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	after, err := loadCredentials(s.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before.certificate, after.certificate) || !bytes.Equal(before.keyPKCS8, after.keyPKCS8) {
		t.Error("the renewal did not bring another certificate for the same key")
	}
	served, err := m.identity.GetCertificate(nil)
	if err != nil || !bytes.Equal(served.Certificate[0], after.certificate) {
		t.Errorf("the new certificate is not served (error %v)", err)
	}
}

func TestCertificateIsDueInItsLastThird(t *testing.T) {
	s := startFounder(t)
	creds, err := loadCredentials(s.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	f := func(age time.Duration, want bool) {
		t.Helper()
		creds.certificate = s.certificateOfAge(t, creds, age)
		if err := creds.save(s.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		if due, err := s.renewalDue(); due != want || err != nil {
			t.Errorf("at the age of %v: due %v, error %v", age, due, err)
		}
	}
	f(nodeLifetime/2, false)
	f(nodeLifetime*3/4, true)
	f(nodeLifetime+time.Hour, true)
}

// A node whose address has changed gets a certificate that names the new one.
func TestCertificateIsDueAtAnotherAddress(t *testing.T) {
	caDER, caKey, err := pki.NewCA("c1c1c1c1-0000-4000-8000-000000000001", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.NewNodeKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.CSR(key)
	if err != nil {
		t.Fatal(err)
	}
	f := func(apiURL, clusterAddress string, want bool) {
		t.Helper()
		der, err := pki.SignNode(caDER, caKey, csr, "n1", certificateHosts("https://kms.test:8440", "10.1.2.3:8441"), time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if due := renewalDueOf(certificate, certificateHosts(apiURL, clusterAddress)); due != want {
			t.Errorf("at %s and %s: due %t", apiURL, clusterAddress, due)
		}
	}
	f("https://kms.test:8440", "10.1.2.3:8441", false)
	f("https://kms.test:9440", "10.1.2.3:9441", false) // a port is in no certificate
	f("https://127.0.0.1:8440", "localhost:8441", false)
	f("https://other.test:8440", "10.1.2.3:8441", true)
	f("https://kms.test:8440", "10.1.2.4:8441", true)
}

// certificateOfAge signs a certificate for the node's key as if that long ago.
func (s *Server) certificateOfAge(t *testing.T, creds credentials, age time.Duration) []byte {
	t.Helper()
	c := s.machine.State().Cluster()
	caKey, err := s.member.Load().seal.open(t.Context(), sealCAKey, c.ID, c.SealedCAKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := signAt(caKey, creds.keyPKCS8, c.CACertificates[0], s.cfg.NodeID, time.Now().Add(-age))
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func signAt(caKey, nodeKey, authority []byte, nodeID string, at time.Time) ([]byte, error) {
	csr, err := pki.CSR(nodeKey)
	if err != nil {
		return nil, err
	}
	return pki.SignNode(authority, caKey, csr, nodeID, nil, at, nodeLifetime)
}
