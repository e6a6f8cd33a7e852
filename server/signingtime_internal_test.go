package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/wire"
)

// A node whose clock is a year slow signs by replicated time, for others and for
// a new CA: by its own clock what it signs would have run out for all others.
func TestSigningDoesNotGoByOneClock(t *testing.T) {
	s := startFounder(t)
	m := s.member.Load()
	issued := func(s *Server) time.Time {
		t.Helper()
		_, csr, err := newNodeKey()
		must(t, err)
		reply, err := s.sign(t.Context(), m, "n2", csr, nil)
		must(t, err)
		certificate, err := x509.ParseCertificate(reply.Certificate)
		must(t, err)
		return pki.Issued(certificate)
	}
	near := func(what string, got, want time.Time) {
		t.Helper()
		if off := got.Sub(want); off.Abs() > time.Minute {
			t.Errorf("%s: signed %s from the time of the cluster", what, off)
		}
	}
	near("the clocks agree", issued(s), time.Now())

	later := fsmtest.New(t)
	slow := &Server{cfg: s.cfg, machine: later.Machine}
	var snapshot bytes.Buffer
	_, err := s.machine.Snapshot().WriteTo(&snapshot)
	must(t, err)
	must(t, slow.machine.Restore(&snapshot))
	ahead := time.Now().Add(nodeLifetime)
	later.Now = ahead.UnixMilli()
	entry := later.Entry(later.Command(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: later.Now + 3_600_000}))
	entry.Index = slow.machine.State().Applied() + 1
	_, err = slow.machine.Apply([]fsm.Entry{entry})
	must(t, err)
	near("this node's clock is a year slow", issued(slow), ahead)
	var body command.RotateCA
	must(t, slow.makeCA(t.Context(), m, slow.machine.State().Cluster(), &body))
	authority, err := x509.ParseCertificate(body.Certificate)
	must(t, err)
	near("a new CA", pki.Issued(authority), ahead)
}

// A joiner that is given a certificate out of its time says whose clock is how
// far off, saves nothing of it, and joins with the same token once all is right.
func TestJoinerRefusesACertificateOutOfTime(t *testing.T) {
	s := startFounder(t)
	m := s.member.Load()
	joiner := startEmpty(t, func(cfg *Config) { cfg.NodeID = "n2" })
	token, err := s.createJoinToken(t.Context(), wire.JoinTokenRequest{})
	must(t, err)
	c := s.machine.State().Cluster()
	caKey, err := m.seal.open(t.Context(), sealCAKey, c.ID, c.SealedCAKey)
	must(t, err)
	refused := func(shift time.Duration, want string) {
		t.Helper()
		m.node.HandleJoin(func(ctx context.Context, remote string, body []byte) ([]byte, error) {
			raw, err := s.answerJoin(ctx, m, remote, body)
			if err != nil {
				return nil, err
			}
			var req joinRequest
			var reply joinReply
			if err := cbor.Unmarshal(body, &req); err != nil {
				return nil, err
			}
			if err := cbor.Unmarshal(raw, &reply); err != nil {
				return nil, err
			}
			reply.Certificate.Certificate, err = pki.SignNode(c.CACertificates[0], caKey, req.CSR, req.Node.ID, nil, time.Now().Add(shift), nodeLifetime)
			if err != nil {
				return nil, err
			}
			return cbor.Marshal(reply)
		})
		err := joiner.join(t.Context(), token.Token)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "set right what is wrong") || strings.Contains(err.Error(), "\n") {
			t.Errorf("signed with a clock that is off by %s: %v, want %q", shift, err, want)
		}
		if _, found, err := loadIdentity(joiner.cfg.DataDir); found || err != nil {
			t.Errorf("the joiner believes to be of the cluster: %t, %v", found, err)
		}
	}
	refused(-nodeLifetime-time.Hour, "this node's clock is 8761h0m")
	refused(time.Hour, "behind the cluster's")
	m.node.HandleJoin(func(ctx context.Context, remote string, body []byte) ([]byte, error) {
		return s.answerJoin(ctx, m, remote, body)
	})
	must(t, joiner.join(t.Context(), token.Token))
}

// A node whose clock is a year off does not start, and says what the clock shows,
// when its certificate is valid, and what to do whichever is wrong.
func TestAStartWithAWrongClockSaysWhatToDo(t *testing.T) {
	id := identity{ClusterID: fsmtest.ClusterID, NodeID: "n1"}
	authority, caKey, err := pki.NewCA(id.ClusterID, time.Now().Add(-2*nodeLifetime), caLifetime)
	must(t, err)
	key, _, err := newNodeKey()
	must(t, err)
	s := &Server{cfg: Config{NodeID: id.NodeID}}
	for _, signed := range []time.Time{time.Now().Add(-nodeLifetime - time.Hour), time.Now().Add(nodeLifetime)} {
		certificate, err := signAt(caKey, key, authority, id.NodeID, signed)
		must(t, err)
		leaf, err := x509.ParseCertificate(certificate)
		must(t, err)
		err = s.start(t.Context(), id, credentials{keyPKCS8: key, certificate: certificate, authorities: [][]byte{authority}})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("a certificate that was signed at %s: %v, want one sentence", signed, err)
		}
		for _, want := range []string{
			"this node's clock shows 20", "the certificate is valid from " + leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339),
			"set the clock right", "`kmsctl cluster remove n1`", "join again",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q lacks %q", err, want)
			}
		}
	}
}
