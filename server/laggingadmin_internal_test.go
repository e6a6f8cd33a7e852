package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// behind is a replica that has missed something, and learns of it when it waits
// for the newest state.
type behind struct {
	alone
	ahead      *fsmtest.Machine
	missed     []command.Body
	unreleased bool           // another node serves from a state before
	meanwhile  []command.Body // applied while it waits until none does
}

func (b *behind) Released(context.Context, uint64) error {
	if b.unreleased {
		return context.DeadlineExceeded
	}
	for _, body := range b.meanwhile {
		b.ahead.Must(body)
	}
	return nil
}

func (b *behind) Barrier(context.Context) error {
	for _, body := range b.missed {
		b.ahead.Must(body)
	}
	b.missed = nil
	return nil
}

func (b *behind) Propose(ctx context.Context, data []byte) (fsm.Result, error) {
	b.index = b.machine.State().Applied()
	return b.alone.Propose(ctx, data)
}

// What the admin socket of a node tells of providers and nodes, and writes into a
// join token, is of a state that holds all that was acknowledged before.
func TestAdminOfANodeThatIsBehind(t *testing.T) {
	newCA := func() (authority, key []byte) {
		t.Helper()
		authority, key, err := pki.NewCA(fsmtest.ClusterID, time.Now(), caLifetime)
		must(t, err)
		return authority, key
	}
	old, _ := newCA()
	next, key := newCA()
	m := fsmtest.New(t)
	bootstrap := fsmtest.Bootstrap()
	bootstrap.CACertificate = old
	m.Must(bootstrap)
	replica := &behind{alone: alone{machine: m.Machine}, ahead: m}
	service := kms.New(kms.Config{
		NodeID: fsmtest.NodeID, Replica: replica, Module: softtest.Open(t), Traces: &kept{}, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(service.Close)
	s := &Server{machine: m.Machine}
	s.member.Store(&member{service: service})

	m.Must(fsmtest.AddCA("ca"))
	replica.meanwhile = []command.Body{command.RemoveProvider{ID: "ca"}}
	listed, err := s.listProviders(t.Context())
	must(t, err)
	if len(listed.Providers) != 1 {
		t.Errorf("what was removed meanwhile, and may serve yet, is not listed: %+v", listed.Providers)
	}
	replica.meanwhile = nil
	m.Must(fsmtest.AddCA("ca"))
	replica.missed = []command.Body{command.RemoveProvider{ID: "ca"}}
	listed, err = s.listProviders(t.Context())
	must(t, err)
	if len(listed.Providers) != 0 {
		t.Errorf("a removed CA is listed: %+v", listed.Providers)
	}

	replica.unreleased = true
	if _, err := s.listProviders(t.Context()); kms.KindOf(err) != kms.KindUnavailable {
		t.Errorf("providers are listed as they are, and another node goes by those from before: %v", err)
	}
	replica.unreleased = false

	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: m.Now + 3_600_000})
	m.Must(fsmtest.AdmitNode("t", "n2"))
	replica.missed = []command.Body{command.RemoveNode{NodeID: "n2"}}
	if _, err := s.verifyRoots(t.Context(), wire.VerifyRootsRequest{NodeID: "n2"}); err == nil || !strings.Contains(err.Error(), `the cluster has no node "n2"`) {
		t.Errorf("verifying the root keys of a removed node: %v", err)
	}

	_, request, err := newNodeKey()
	must(t, err)
	parsed, err := x509.ParseCertificateRequest(request)
	must(t, err)
	admit := fsmtest.AdmitNode("t2", "n3")
	ofKey := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	admit.Node.TLSKey = ofKey[:]
	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t2"), Expires: m.Now + 3_600_000})
	m.Must(admit)
	replica.missed = []command.Body{command.RemoveNode{NodeID: "n3"}}
	body, err := cbor.Marshal(certificateRequest{CSR: request})
	must(t, err)
	if _, err := s.answerRenewal(t.Context(), s.member.Load(), "n3", body); err == nil || !strings.Contains(err.Error(), "a key it was not admitted with") {
		t.Errorf("renewing the certificate of a removed node: %v", err)
	}

	m.Must(command.RotateCA{Step: command.CAStage, Certificate: next, Sealed: key})
	report := fsmtest.ReportCAs(fsmtest.NodeID, "CA")
	report.Trusted = [][]byte{fsm.CAFingerprint(old), fsm.CAFingerprint(next)}
	m.Must(report)
	replica.missed = []command.Body{command.RotateCA{Step: command.CAUse}}
	made, err := s.createJoinToken(t.Context(), wire.JoinTokenRequest{})
	must(t, err)
	token, err := membership.ParseToken(made.Token)
	must(t, err)
	signs, err := x509.ParseCertificate(next)
	must(t, err)
	if token.CAPin != pki.Fingerprint(signs.RawSubjectPublicKeyInfo) {
		t.Error("the token says that the cluster is known by the CA from before")
	}
}
