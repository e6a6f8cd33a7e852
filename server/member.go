package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/transport"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/kms"
)

// member is the part of a node that runs once it has a cluster.
type member struct {
	clusterID hsm.ClusterID
	node      *cluster.Node
	identity  *transport.Identity
	service   *kms.Service
	secrets   *iam.Secrets
	dialect   *huawei.Dialect
	keystone  *keystone.API
	seal      *sealer
	roots     *rootKeeper
	rewrapper *rewrapper
	gossip    *gossipKeeper
	cas       *caKeeper
	ready     *readiness
	publisher *publisher
	table     routeTable             // of the API
	goodPeer  atomic.Pointer[string] // the peer that answered last
	sentOn    sentOn
	waiting   atomic.Pointer[map[string]string] // node id → why a decided change of it waits, see settleSeats

	certificates sync.Mutex // held while this node's certificate, or what it trusts, is replaced

	apiExpires func() time.Time // of the certificate that the API serves
}

// resume starts the member of a node that already has a cluster, after its
// module has shown that it holds what it held before.
func (s *Server) resume(ctx context.Context, id identity) error {
	clusterID, err := id.cluster()
	if err != nil {
		return err
	}
	if err := s.openRoots(ctx, id, clusterID); err != nil {
		return err
	}
	creds, err := loadCredentials(s.cfg.DataDir)
	if err != nil {
		return err
	}
	if err := s.checkLog(id); err != nil {
		return err
	}
	return s.start(ctx, id, creds)
}

// checkLog refuses a node that has lost its log, and with it what it voted
// for: voting again could make two leaders of one term.
func (s *Server) checkLog(id identity) error {
	if !id.Replicating {
		return nil
	}
	dir := filepath.Join(s.cfg.DataDir, raftDir)
	_, err := os.Stat(dir)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for this node's log: %w", err)
	}
	return fmt.Errorf("this node's log %s is gone, and a node that has forgotten its votes must not take part: put the directory back, or empty %s and join under another node id", dir, s.cfg.DataDir)
}

// openRoots has the module find the cluster's roots and prove them. A node
// that never had them goes on without: it replicates, and waits for approval.
func (s *Server) openRoots(ctx context.Context, id identity, clusterID hsm.ClusterID) error {
	_, err := s.cfg.Module.OpenRoots(ctx, clusterID)
	switch {
	case errors.Is(err, hsm.ErrNoRoots) && !id.hasRoots():
		return nil
	case errors.Is(err, hsm.ErrNoRoots):
		return fmt.Errorf("this node's module holds no root keys of its cluster %s although it did before: attach the module or files it had, or empty the data directory and join again: %w", id.ClusterID, err)
	case errors.Is(err, entropy.ErrGenerator): // of two devices: neither is asked for anything, also not for what it holds
		return nil // out of service, as testBeforeServing finds out, and otherwise a member
	case errors.Is(err, hsm.ErrForeignRoots):
		return fmt.Errorf("this node's module belongs to another cluster than %s: attach the module it had: %w", id.ClusterID, err)
	case err != nil:
		return fmt.Errorf("opening the root keys: %w", err)
	case !id.hasRoots():
		return nil // received, but not yet proved: rootKeeper does that
	}
	canary, err := id.canary()
	if err != nil {
		return err
	}
	if err := canary.Verify(ctx, s.cfg.Module); err != nil {
		return fmt.Errorf("this node's module holds root keys that are not those of its cluster %s: attach the module it had: %w", id.ClusterID, err)
	}
	return nil
}

// start runs the node as a member of its cluster. A new cluster is
// bootstrapped by its founder after this.
func (s *Server) start(ctx context.Context, id identity, creds credentials) error {
	clusterID, err := id.cluster()
	if err != nil {
		return err
	}
	tlsIdentity, err := transport.NewIdentity(id.ClusterID, s.cfg.NodeID, creds.certificate, creds.keyPKCS8, creds.authorities...)
	if err != nil {
		return fmt.Errorf("loading this node's certificate: %w", s.untimely(err))
	}
	m := &member{clusterID: clusterID, identity: tlsIdentity, seal: &sealer{module: s.cfg.Module}}
	var sink cluster.Sink
	if s.cfg.OwnProcess {
		sink = s.metrics.raftSink()
	}
	m.node, err = cluster.Open(ctx, cluster.Config{
		NodeID:           s.cfg.NodeID,
		ClusterID:        id.ClusterID,
		DataDir:          s.cfg.DataDir,
		Identity:         tlsIdentity,
		ListenAddress:    s.cfg.ClusterListen,
		AdvertiseAddress: s.cfg.ClusterAdvertise,
		Gossip: membership.Config{
			ListenAddress:    s.cfg.GossipListen,
			AdvertiseAddress: s.cfg.GossipAdvertise,
			Key:              creds.gossipKey,
			APIURL:           s.cfg.APIURL,
		},
		Timing:     cluster.Timing{Dead: s.cfg.DeadAfter},
		Reads:      s.cfg.Reads,
		Fenced:     s.metrics.fenced,
		Metrics:    sink,
		Prepare:    stateMachine{s.machine, s.events}.prepare,
		Admitted:   s.admitted,
		Promotable: func(nodeID string) bool { return s.mayVote(nodeID) && s.holdsRoots(ctx, nodeID) },
		MayPropose: s.trusted,
		Fatal:      s.fail,
		Logger:     s.cfg.Logger,
	}, stateMachine{s.machine, s.events})
	if err != nil {
		return fmt.Errorf("starting replication: %w", err)
	}
	if !id.Replicating {
		id.Replicating = true
		if err := id.save(s.cfg.DataDir); err != nil {
			return errors.Join(err, m.node.Close(ctx))
		}
	}
	m.service = kms.New(kms.Config{
		NodeID:     s.cfg.NodeID,
		Replica:    replica{m.node, s.machine},
		Module:     s.cfg.Module,
		LoadedKeys: s.cfg.LoadedKeys,
		Traces:     watchedTraces{s},
		Search: func(ctx context.Context, q kms.TraceQuery) (kms.TracePage, error) {
			return s.searchTraces(ctx, m, q)
		},
		Follow: func(ctx context.Context, q kms.TraceQuery) (kms.TracePage, error) {
			return s.followTraces(ctx, m, q)
		},
		Logger:   s.cfg.Logger,
		Untraced: s.untraced,
		Lanes:    s.lanes,

		RefusalAlarm: s.cfg.RefusalAlarm,

		MinDeletionWait: s.cfg.MinDeletionWait, ForbidWeakImport: s.cfg.ForbidWeakImport,
		Services: s.cfg.Services,
	})
	m.secrets = iam.NewSecrets(s.openAccessKey(m))
	tokens := iam.NewTokens(&tokenSeals{s, m})
	door := iam.NewDoor(iam.NewVerifier(m.secrets, time.Now), tokens)
	door.Limit(s.gate.AdmitUser)
	m.dialect = huawei.New(m.service, door)
	m.keystone = keystone.New(keystone.Config{
		Service: m.service, Door: door, Tokens: tokens, Passwords: iam.NewPasswords(runtime.GOMAXPROCS(0), time.Now),
		URL: s.cfg.CatalogURL, Clock: time.Now, SealSecret: m.seal.sealAccessKey, SealFactor: m.seal.sealFactor, OpenFactor: m.seal.openFactor,
		MayTry: s.gate.MayTry, Failed: func(source string) { s.gate.Failed(source) },
	})
	m.dialect.SetElsewhere(s.elsewhere(m))
	m.roots = newRootKeeper(s, m, id)
	m.rewrapper = &rewrapper{server: s, member: m}
	m.gossip = &gossipKeeper{server: s, member: m}
	m.cas = &caKeeper{server: s, member: m}
	m.ready = &readiness{server: s, member: m}
	if m.publisher, err = newPublisher(s, m); err != nil {
		m.close(ctx)
		return err
	}
	s.testBeforeServing(ctx, m)
	if err := s.serveAPI(m); err != nil {
		m.close(ctx)
		return err
	}
	s.handleCalls(m)
	s.member.Store(m)
	s.tasks.Go(func() { m.roots.run(ctx) })
	s.tasks.Go(func() { m.gossip.run(ctx) })
	s.tasks.Go(func() { m.cas.run(ctx) })
	s.tasks.Go(func() { m.ready.run(ctx) })
	s.tasks.Go(func() { s.reportNode(ctx, m) })
	s.tasks.Go(func() { s.watchModule(ctx, m) })
	s.tasks.Go(func() { s.watchGenerator(ctx, m) })
	s.tasks.Go(func() { s.reconcileMembers(ctx, m) })
	s.tasks.Go(func() { s.watchMembers(ctx, m) })
	s.tasks.Go(func() { s.writeEvents(ctx, m) })
	s.tasks.Go(func() { s.renewCertificate(ctx, m) })
	s.startJobs(ctx, m)
	return nil
}

// admissionSkew is how far the clock of whoever signs a certificate may be
// behind the replicated time.
const admissionSkew = 10 * time.Second

// admitted is the cluster port's doorkeeper: a certificate is good while the
// state has its node with that very key. A node that has no state yet takes
// whoever its CA vouches for, or it could never be sent any. Nor could a node
// whose state is old be sent what has happened since, once the cluster is led by
// a node that was admitted, or admitted anew, meanwhile: so it also takes
// whoever was vouched for after the last moment that its state knows of. A node
// signs only for one whose admission is committed; that of a node which was
// removed was signed before its removal. Who was removed is taken until it
// has no seat in Raft's configuration any more: its vote may be what the majority
// stands on.
func (s *Server) admitted(nodeID string, key [sha256.Size]byte, issued time.Time) bool {
	root := s.machine.State()
	if root.Cluster() == nil {
		return true
	}
	node, ok := root.Node(nodeID)
	return ok && string(node.TLSKey) == string(key[:]) || issued.Add(admissionSkew).UnixMilli() > root.Now() || !ok && s.seated(nodeID)
}

// close stops the member; the API no longer takes requests.
func (m *member) close(ctx context.Context) {
	_ = m.node.Close(ctx) // what it could report is in the log already
	m.service.Close()
	_ = m.secrets.Close() // unmapping wiped memory; there is nothing left to do about a failure
}

// apiTLS is the TLS configuration of the API port.
func (s *Server) apiTLS(m *member) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: s.cfg.APIMinTLS, GetCertificate: m.identity.GetCertificate}
	m.apiExpires = m.identity.Expires
	// Certificates of clients are asked for only where the cluster believes a
	// client CA, and judged when a call comes in, by the state of that moment.
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		authorities := iam.ClientCAs(s.machine.State())
		if len(authorities) == 0 {
			return nil, nil
		}
		asking := cfg.Clone()
		asking.GetConfigForClient = nil
		asking.ClientAuth, asking.ClientCAs = tls.RequestClientCert, x509.NewCertPool()
		for _, der := range authorities {
			if authority, err := x509.ParseCertificate(der); err == nil {
				asking.ClientCAs.AddCert(authority)
			}
		}
		return asking, nil
	}
	if s.cfg.APICertificateFile != "" {
		files, err := newAPICertificate(s.cfg.APICertificateFile, s.cfg.APIKeyFile, s.cfg.Logger)
		if err != nil {
			return nil, err
		}
		cfg.GetCertificate, m.apiExpires = files.get, files.expires
	}
	return cfg, nil
}

// sealer opens and makes the seals of secrets in the replicated state.
type sealer struct {
	module hsm.Module
}

// What a seal is bound to: its purpose and the record it belongs to, so that
// one record's seal cannot be moved to another.
func sealLabel(purpose, record string) []byte { return []byte(purpose + "\x00" + record) }

func (s *sealer) key(ctx context.Context, generation hsm.RootGeneration) (*envelope.Key, error) {
	raw, err := s.module.Under(generation).Seal(ctx)
	if err != nil {
		return nil, fmt.Errorf("reaching root-seal: %w", err)
	}
	return envelope.NewKey(ctx, raw)
}

func (s *sealer) seal(ctx context.Context, generation hsm.RootGeneration, purpose, record string, secret []byte) ([]byte, error) {
	key, err := s.key(ctx, generation)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return envelope.SealSecret(ctx, key, generation, secret, sealLabel(purpose, record))
}

func (s *sealer) open(ctx context.Context, purpose, record string, sealed []byte) ([]byte, error) {
	generation, err := envelope.SecretGeneration(sealed)
	if err != nil {
		return nil, err
	}
	key, err := s.key(ctx, generation)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return envelope.OpenSecret(ctx, key, sealed, sealLabel(purpose, record))
}

// openAccessKey returns a secret key; the caller wipes it.
func (s *sealer) openAccessKey(ctx context.Context, ak *state.AccessKey) ([]byte, error) {
	return s.open(ctx, sealAccessKey, ak.ID, ak.SealedSecret)
}

// sealAccessKey seals the secret key of a new access key.
func (s *sealer) sealAccessKey(ctx context.Context, root *state.Root, accessKeyID string, secret []byte) ([]byte, error) {
	return s.seal(ctx, hsm.RootGeneration(root.Cluster().RootGeneration), sealAccessKey, accessKeyID, secret)
}

// sealFactor seals the secret of a second factor.
func (s *sealer) sealFactor(ctx context.Context, root *state.Root, factorID string, secret []byte) ([]byte, error) {
	return s.seal(ctx, hsm.RootGeneration(root.Cluster().RootGeneration), sealFactor, factorID, secret)
}

// openFactor returns the secret of a second factor; the caller wipes it.
func (s *sealer) openFactor(ctx context.Context, factorID string, sealed []byte) ([]byte, error) {
	return s.open(ctx, sealFactor, factorID, sealed)
}

// The purposes of seals.
const (
	sealToken     = "token"
	sealAccessKey = "access-key"
	sealFactor    = "second-factor"
	sealCAKey     = "ca-key"
	sealGossipKey = "gossip-key"
)
