package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// The cluster's CA is replaced in three steps, each a command, and all nodes
// follow after each of them: trust the new CA as well, have a certificate of it,
// trust the old one no more. Nodes say in the state what they have done, and a
// step that would cut one off is refused until it has, or is out of the cluster.
// Between the steps there may be days: clients have to be given the new CA
// before it signs.

// callFollowCAs has a node do what the newest state says of the CAs, now. It
// answers with a [caReport].
const callFollowCAs = "server.follow-cas"

const (
	caFollowPeriod = 5 * time.Second
	caFollowWait   = 10 * time.Second // for one node, at each step of a rotation
)

// caReport is what a node does about the CAs, by the SHA-256 of their certificates.
type caReport struct {
	Trusted [][]byte `cbor:"1,keyasint"`
	Issuer  []byte   `cbor:"2,keyasint"`
}

// caKeeper keeps what a node trusts, and its certificate, as the state says.
type caKeeper struct {
	server *Server
	member *member

	mu       sync.Mutex
	followed *state.Cluster // whose CAs the node has followed; nil: none yet
}

// run follows what the node was not told of.
func (k *caKeeper) run(ctx context.Context) {
	for {
		if err := k.update(ctx); err != nil && ctx.Err() == nil {
			k.server.cfg.Logger.Warn("this node does not follow the cluster's CAs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(caFollowPeriod):
		}
	}
}

// update does what the state says: it trusts the CAs there and no other ones,
// has a certificate of the first, and says so while the CA is rotated.
func (k *caKeeper) update(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.server
	if c := s.machine.State().Cluster(); c == nil || k.settled(c) {
		return nil
	}
	// Whoever stops to trust a CA because of an old state may not find a leader
	// any more that would send a newer one.
	if err := k.member.service.Current(ctx); err != nil {
		return err
	}
	c := s.machine.State().Cluster()
	if err := s.trust(k.member, c.CACertificates); err != nil {
		return err
	}
	creds, issuer, err := s.issued()
	if err != nil {
		return err
	}
	if !bytes.Equal(issuer, c.CACertificates[0]) {
		if err := s.renewOnce(ctx, k.member); err != nil {
			return err
		}
		if creds, issuer, err = s.issued(); err != nil {
			return err
		}
	}
	if err := k.report(ctx, c, reportOf(creds.authorities, issuer)); err != nil {
		return err
	}
	if sameCAs(creds.authorities, c.CACertificates) && bytes.Equal(issuer, c.CACertificates[0]) {
		k.followed = c
	}
	return nil
}

// settled says whether the node has done all that this state wants.
func (k *caKeeper) settled(c *state.Cluster) bool {
	return k.followed != nil && sameCAs(k.followed.CACertificates, c.CACertificates) && (len(c.CACertificates) == 1 || k.reported())
}

// reported says whether the state has what the node would say while it follows it.
func (k *caKeeper) reported() bool {
	root := k.server.machine.State()
	node, known := root.Node(k.server.cfg.NodeID)
	certificates := root.Cluster().CACertificates
	return !known || says(node, reportOf(certificates, certificates[0]))
}

// report has the state say what this node does, while that is asked for.
func (k *caKeeper) report(ctx context.Context, c *state.Cluster, r caReport) error {
	node, known := k.server.machine.State().Node(k.server.cfg.NodeID)
	if !known || len(c.CACertificates) == 1 || says(node, r) {
		return nil
	}
	return k.member.service.ReportCAs(ctx, command.ReportCAs{NodeID: node.ID, Trusted: r.Trusted, Issuer: r.Issuer})
}

// answer has this node follow whatever was acknowledged before the call.
func (k *caKeeper) answer(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	if err := k.member.service.Current(ctx); err != nil {
		return nil, err
	}
	if err := k.update(ctx); err != nil {
		return nil, refuseRemote("%v", err)
	}
	creds, issuer, err := k.server.issued()
	if err != nil {
		return nil, err
	}
	return cbor.Marshal(reportOf(creds.authorities, issuer))
}

// trust replaces the CAs that this node trusts, in use and on disk.
func (s *Server) trust(m *member, authorities [][]byte) error {
	m.certificates.Lock()
	defer m.certificates.Unlock()
	creds, err := loadCredentials(s.cfg.DataDir)
	if err != nil || sameCAs(creds.authorities, authorities) {
		return err
	}
	issuer, err := issuerOf(creds)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(authorities, func(der []byte) bool { return bytes.Equal(der, issuer) }) {
		return errors.New("this node's certificate is of a CA that the cluster does not trust any more: take the node out of the cluster, and have it join again with an empty data directory")
	}
	creds.authorities = authorities
	if err := m.identity.Replace(creds.certificate, creds.keyPKCS8, authorities...); err != nil {
		return fmt.Errorf("trusting the cluster's CAs: %w", err)
	}
	return creds.saveCertificate(s.cfg.DataDir)
}

func sameCAs(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// trustsJust says whether those are the CAs, in whatever order.
func trustsJust(trusted, wanted [][]byte) bool {
	return len(trusted) == len(wanted) && !slices.ContainsFunc(wanted, func(ca []byte) bool {
		return !slices.ContainsFunc(trusted, func(other []byte) bool { return bytes.Equal(ca, other) })
	})
}

func says(node *state.Node, r caReport) bool {
	return sameCAs(node.CAsTrusted, r.Trusted) && bytes.Equal(node.CAIssuer, r.Issuer)
}

func reportOf(authorities [][]byte, issuer []byte) caReport {
	r := caReport{Issuer: fsm.CAFingerprint(issuer)}
	for _, der := range authorities {
		r.Trusted = append(r.Trusted, fsm.CAFingerprint(der))
	}
	return r
}

// issued returns this node's credentials, and which of the CAs in them signed its
// certificate.
func (s *Server) issued() (creds credentials, issuer []byte, err error) {
	if creds, err = loadCredentials(s.cfg.DataDir); err == nil {
		issuer, err = issuerOf(creds)
	}
	return creds, issuer, err
}

// issuerOf returns which of the CAs that a node trusts signed its certificate.
func issuerOf(creds credentials) ([]byte, error) {
	certificate, err := x509.ParseCertificate(creds.certificate)
	if err != nil {
		return nil, fmt.Errorf("reading this node's certificate: %w", err)
	}
	for _, der := range creds.authorities {
		authority, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's CA: %w", err)
		}
		if certificate.CheckSignatureFrom(authority) == nil {
			return der, nil
		}
	}
	return nil, errors.New("this node's certificate is of none of the CAs that it trusts")
}

// caStage is what the state says of a rotation.
func caStage(c *state.Cluster) string {
	switch {
	case len(c.SealedCAKeyNext) > 0:
		return wire.CAStaged
	case len(c.CACertificates) > 1:
		return wire.CAInUse
	default:
		return wire.CASettled
	}
}

// caSteps are the steps, by name: which command, and at which stage; one that is
// asked for at the stage that it leads to is there already.
var caSteps = map[string]struct {
	step     command.CAStep
	from, to string
	without  string // said where there is nothing to do it to
}{
	"rotate": {command.CAStage, wire.CASettled, wire.CAStaged, "a new CA is in use already: `kmsctl cluster ca finish` comes next"},
	"use":    {command.CAUse, wire.CAStaged, wire.CAInUse, "there is no new CA to use: `kmsctl cluster ca rotate` makes one"},
	"finish": {command.CADrop, wire.CAInUse, wire.CASettled, "there is no new CA in use: `kmsctl cluster ca rotate` and `kmsctl cluster ca use` come first"},
	"abort":  {command.CAAbort, wire.CAStaged, wire.CASettled, "the new CA is in use: there is no way back but to finish, and to rotate once more"},
}

// rotateCA takes a step of a rotation, and has all nodes follow.
func (s *Server) rotateCA(ctx context.Context, req wire.CARequest) (*wire.CAStatus, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	step, known := caSteps[req.Step]
	if !known {
		return nil, errors.New("the steps are rotate, use, finish and abort")
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	c := s.machine.State().Cluster()
	if c == nil {
		return nil, errNoCluster
	}
	switch stage := caStage(c); stage {
	case step.from:
		s.followCAs(ctx, m) // what the step asks for may be done, and not said yet
		body := command.RotateCA{Step: step.step}
		if step.step == command.CAStage {
			if err := s.makeCA(ctx, m, c, &body); err != nil {
				return nil, err
			}
		}
		if err := m.service.RotateCA(ctx, uuid.NewString(), body); err != nil {
			return nil, err
		}
	case step.to:
		if stage == wire.CASettled {
			return nil, errors.New("the cluster's CA is not being rotated: `kmsctl cluster ca rotate` begins it")
		}
	default:
		return nil, errors.New(step.without)
	}
	return s.caStatusNow(ctx, m)
}

// makeCA makes a new CA; its key is sealed before it goes anywhere.
func (s *Server) makeCA(ctx context.Context, m *member, c *state.Cluster, body *command.RotateCA) error {
	certificate, key, err := pki.NewCA(c.ID, s.signingTime(m), caLifetime)
	if err != nil {
		return fmt.Errorf("making the new CA: %w", err)
	}
	defer clear(key)
	body.Certificate = certificate
	if body.Sealed, err = m.seal.seal(ctx, hsm.RootGeneration(c.RootGeneration), sealCAKey, c.ID, key); err != nil {
		return fmt.Errorf("sealing the new CA's key: %w", err)
	}
	return nil
}

// caStatus is how far a rotation is.
func (s *Server) caStatus(ctx context.Context) (*wire.CAStatus, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	if err := m.service.Current(ctx); err != nil {
		return nil, err
	}
	if s.machine.State().Cluster() == nil {
		return nil, errNoCluster
	}
	return s.caStatusNow(ctx, m)
}

// caStatusNow has all nodes follow, and says how far they are.
func (s *Server) caStatusNow(ctx context.Context, m *member) (*wire.CAStatus, error) {
	nodes := s.followCAs(ctx, m)
	c := s.machine.State().Cluster()
	status := &wire.CAStatus{Stage: caStage(c)}
	for i, der := range c.CACertificates {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading the cluster's CA: %w", err)
		}
		info := wire.CAInfo{
			Fingerprint: hex.EncodeToString(fsm.CAFingerprint(der)), NotAfter: parsed.NotAfter.UTC().Format(time.RFC3339),
			Role: "signs", Certificate: string(encodePEM("CERTIFICATE", der)),
		}
		switch {
		case i > 0 && status.Stage == wire.CAStaged:
			info.Role = "comes"
		case i > 0:
			info.Role = "goes"
		}
		status.CAs = append(status.CAs, info)
	}
	want := reportOf(c.CACertificates, c.CACertificates[0])
	for _, node := range nodes {
		status.Nodes = append(status.Nodes, wire.CAOfNode{
			NodeID: node.id, Trusts: trustsJust(node.report.Trusted, want.Trusted), Renewed: bytes.Equal(node.report.Issuer, want.Issuer), Problem: node.problem,
		})
	}
	return status, nil
}

// caExpiry is when the CA ends that signs the nodes' certificates, in seconds since
// 1970; 0 without a cluster.
func (s *Server) caExpiry() float64 {
	c := s.machine.State().Cluster()
	if c == nil {
		return 0
	}
	ca, err := x509.ParseCertificate(c.CACertificates[0])
	if err != nil {
		return 0
	}
	return float64(ca.NotAfter.Unix())
}

// caFollower is what a node answered that was asked to follow.
type caFollower struct {
	id      string
	report  caReport // of a node that did not answer: what it last said in the state
	problem string
}

// followCAs has all nodes follow.
func (s *Server) followCAs(ctx context.Context, m *member) []caFollower {
	nodes := s.machine.State().Nodes()
	followers := make([]caFollower, len(nodes))
	var all sync.WaitGroup
	for i, node := range nodes {
		all.Go(func() {
			f := caFollower{id: node.ID, report: caReport{Trusted: node.CAsTrusted, Issuer: node.CAIssuer}}
			ctx, cancel := context.WithTimeout(ctx, caFollowWait)
			defer cancel()
			raw, err := m.node.Call(ctx, node.ID, callFollowCAs, nil)
			var report caReport // not into what is there: that is the state's own
			if err == nil {
				err = cbor.Unmarshal(raw, &report)
			}
			if err != nil {
				f.problem = err.Error()
			} else {
				f.report = report
			}
			followers[i] = f
		})
	}
	all.Wait()
	root := s.machine.State()
	for i, f := range followers {
		node, known := root.Node(f.id)
		if f.problem != "" || !known || len(root.Cluster().CACertificates) == 1 || says(node, f.report) {
			continue
		}
		// One that waits for the root keys may not say so itself.
		if err := m.service.ReportCAs(ctx, command.ReportCAs{NodeID: f.id, Trusted: f.report.Trusted, Issuer: f.report.Issuer}); err != nil {
			followers[i].problem = err.Error()
		}
	}
	return followers
}
