package server

import (
	"context"
	"crypto/x509"
	"log/slog"
	"testing"
	"time"

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
	ahead  *fsmtest.Machine
	missed []command.Body
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

// What the admin socket of a node tells of providers, and writes into a join
// token, is of a state that holds all that was acknowledged before.
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
	replica.missed = []command.Body{command.RemoveProvider{ID: "ca"}}
	listed, err := s.listProviders(t.Context())
	must(t, err)
	if len(listed.Providers) != 0 {
		t.Errorf("a removed CA is listed: %+v", listed.Providers)
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
