package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	nodeLifetime = 365 * 24 * time.Hour
	// foundingTimeout bounds the first election and the first command.
	foundingTimeout = 30 * time.Second
	// foundingMark is there while a cluster is being founded. Should the
	// process die meanwhile, the next start says so instead of waiting for a
	// state that never comes.
	foundingMark = "founding"
)

var (
	regionPattern = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)
)

// found makes this node the first of a new cluster: roots, CA, account,
// project, administrator and access key.
func (s *Server) found(ctx context.Context, req wire.InitRequest) (*wire.InitReply, error) {
	if !regionPattern.MatchString(req.Region) {
		return nil, errors.New("the region is 1 to 64 of a-z, 0-9 and hyphen")
	}
	if !namePattern.MatchString(req.DomainName) || !namePattern.MatchString(req.UserName) {
		return nil, errors.New("account and user names are 1 to 64 letters, digits and any of . _ @ -")
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.member.Load() != nil || s.joining.Load() {
		return nil, errors.New("this node already has a cluster: to take it to another one, remove it there (kmsctl cluster remove) and start it with an empty data directory")
	}
	ctx, cancel := context.WithTimeout(ctx, foundingTimeout)
	defer cancel()

	if err := s.testGenerator(ctx); err != nil {
		return nil, err
	}
	f, err := s.layFoundation(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := s.start(s.running, f.identity, f.credentials); err != nil {
		return nil, err
	}
	m := s.member.Load()
	if err := m.node.Bootstrap(ctx); err != nil {
		return nil, fmt.Errorf("starting the first term: %w", err)
	}
	if err := m.service.Bootstrap(ctx, f.command, "admin socket"); err != nil {
		return nil, fmt.Errorf("writing the first command: %w", err)
	}
	if err := s.dropFoundingMark(); err != nil {
		return nil, fmt.Errorf("finishing the foundation: %w", err)
	}
	return f.reply, nil
}

// beginAnew is for who is about to give this node a cluster. A mark of an earlier
// attempt, which never came to an identity, would make the next start refuse; and
// a log that is there without an identity is nobody's.
func (s *Server) beginAnew() error {
	raft := filepath.Join(s.cfg.DataDir, raftDir)
	switch _, err := os.Lstat(raft); {
	case err == nil:
		return fmt.Errorf("%s is there, and no %s beside it: a restore was interrupted, or files were taken away; if nobody needs it, remove %s and try again", raft, identityFile, raft)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for an earlier log: %w", err)
	}
	if err := s.dropFoundingMark(); err != nil {
		return fmt.Errorf("removing the mark of an earlier attempt: %w", err)
	}
	return nil
}

func (s *Server) dropFoundingMark() error {
	err := os.Remove(filepath.Join(s.cfg.DataDir, foundingMark))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDirectory(s.cfg.DataDir)
}

// foundingInterrupted says whether the process died between a cluster's
// identity and its first command.
func (s *Server) foundingInterrupted() bool {
	_, err := os.Stat(filepath.Join(s.cfg.DataDir, foundingMark))
	return err == nil
}

// foundation is everything of a new cluster before its first command.
type foundation struct {
	identity    identity
	credentials credentials
	command     command.Bootstrap
	reply       *wire.InitReply
}

// layFoundation makes and stores what the first node needs. Secrets are made
// here, sealed here, and leave only in the reply.
func (s *Server) layFoundation(ctx context.Context, req wire.InitRequest) (*foundation, error) {
	if err := s.beginAnew(); err != nil {
		return nil, err
	}
	const generation = hsm.RootGeneration(1)
	clusterUUID := uuid.New()
	clusterID := hsm.ClusterID(clusterUUID)
	if err := s.cfg.Module.CreateRoots(ctx, clusterID, generation); err != nil {
		return nil, fmt.Errorf("making the root keys: %w", err)
	}
	canary, err := hsm.NewCanary(ctx, s.cfg.Module, clusterID, generation)
	if err != nil {
		return nil, fmt.Errorf("making the canary: %w", err)
	}
	canaryBytes, err := canary.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding the canary: %w", err)
	}

	f := &foundation{identity: identity{
		ClusterID:  clusterUUID.String(),
		NodeID:     s.cfg.NodeID,
		ModuleKind: s.cfg.Module.Describe().Kind,
		Canary:     hex.EncodeToString(canaryBytes),
	}}
	caKey, err := f.makeCredentials(s.cfg)
	if err != nil {
		return nil, err
	}
	defer clear(caKey)
	f.reply = newAdministrator(req)
	f.reply.ClusterID = f.identity.ClusterID
	f.reply.CACertificate = string(encodePEM("CERTIFICATE", f.credentials.authorities...))

	seal := &sealer{module: s.cfg.Module}
	sealedCAKey, err := seal.seal(ctx, generation, sealCAKey, f.identity.ClusterID, caKey)
	if err != nil {
		return nil, fmt.Errorf("sealing the CA's key: %w", err)
	}
	sealedGossip, err := seal.seal(ctx, generation, sealGossipKey, f.identity.ClusterID, f.credentials.gossipKey)
	if err != nil {
		return nil, fmt.Errorf("sealing the gossip key: %w", err)
	}
	sealedSecret, err := seal.seal(ctx, generation, sealAccessKey, f.reply.AccessKey, []byte(f.reply.SecretKey))
	if err != nil {
		return nil, fmt.Errorf("sealing the secret key: %w", err)
	}
	info, err := s.nodeInfo(f.credentials.certificate, nil)
	if err != nil {
		return nil, err
	}
	f.command = command.Bootstrap{
		ClusterID:      f.identity.ClusterID,
		FeatureLevel:   s.machine.Highest(),
		Region:         req.Region,
		ModuleKind:     f.identity.ModuleKind,
		RootGeneration: uint32(generation),
		Canary:         canaryBytes,
		CACertificate:  f.credentials.authorities[0],
		SealedCAKey:    sealedCAKey,
		SealedGossip:   sealedGossip,
		DomainID:       f.reply.DomainID,
		DomainName:     f.reply.DomainName,
		ProjectID:      f.reply.ProjectID,
		UserID:         f.reply.UserID,
		UserName:       f.reply.UserName,
		PasswordHash:   iam.HashPassword(f.reply.Password),
		AccessKeyID:    f.reply.AccessKey,
		SealedSecret:   sealedSecret,
		Node:           info,
		LineageID:      randomHex(),
	}
	if err := writeFile(filepath.Join(s.cfg.DataDir, foundingMark), nil); err != nil {
		return nil, err
	}
	if err := f.credentials.save(s.cfg.DataDir); err != nil {
		return nil, err
	}
	return f, f.identity.save(s.cfg.DataDir)
}

// makeCredentials makes the cluster's CA, this node's certificate and the
// gossip key. It returns the CA's private key (PKCS#8); the caller wipes it.
func (f *foundation) makeCredentials(cfg Config) ([]byte, error) {
	now := time.Now()
	authority, caKey, err := pki.NewCA(f.identity.ClusterID, now, caLifetime)
	if err != nil {
		return nil, fmt.Errorf("making the cluster's CA: %w", err)
	}
	nodeKey, csr, err := newNodeKey()
	if err != nil {
		return nil, err
	}
	certificate, err := pki.SignNode(authority, caKey, csr, cfg.NodeID, certificateHosts(cfg.APIURL, cfg.ClusterAdvertise), now, nodeLifetime)
	if err != nil {
		return nil, fmt.Errorf("signing this node's certificate: %w", err)
	}
	gossipKey := make([]byte, 32)
	rand.Read(gossipKey)
	f.credentials = credentials{keyPKCS8: nodeKey, certificate: certificate, authorities: [][]byte{authority}, gossipKey: gossipKey}
	return caKey, nil
}

// newAdministrator draws the ids and secrets of the first account.
func newAdministrator(req wire.InitRequest) *wire.InitReply {
	domainID := randomHex()
	return &wire.InitReply{
		Region:       req.Region,
		DomainID:     domainID,
		DomainName:   req.DomainName,
		ProjectID:    randomHex(),
		ProjectName:  req.Region,
		UserID:       randomHex(),
		UserName:     req.UserName,
		Password:     randomText(24),
		AccessKey:    randomText(20),
		SecretKey:    randomText(40),
		AWSAccountID: awsAccountID(domainID),
	}
}

// randomHex is an id in the form of the clouds: 32 lower-case hex digits.
func randomHex() string {
	var raw [16]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

// randomText is n characters A-Z and 2-7, of five random bits each.
func randomText(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base32.StdEncoding.EncodeToString(raw)[:n]
}

// awsAccountID gives an account the twelve digits that the AWS-style dialect
// wants; the same account always has the same ones.
func awsAccountID(domainID string) string {
	sum := sha256.Sum256([]byte("raftkms aws account\x00" + domainID))
	return fmt.Sprintf("%012d", binary.BigEndian.Uint64(sum[:8])%1_000_000_000_000)
}

// certificateHosts are the names and addresses by which a node is reached.
func certificateHosts(apiURL, clusterAddress string) []string {
	var hosts []string
	if u, err := url.Parse(apiURL); err == nil && u.Hostname() != "" {
		hosts = append(hosts, u.Hostname())
	}
	if host, _, err := net.SplitHostPort(clusterAddress); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}
