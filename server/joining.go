package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
)

// Joining. The joiner shows its token to any member, over a connection on
// which it has verified the cluster's CA by the token's pin; the member has
// the token spent in the replicated state and signs the joiner's certificate.
// That admits to replication only: the root keys follow when an operator has
// approved (roots.go).

// joinRequest is what a joiner says of itself.
type joinRequest struct {
	Secret [32]byte         `cbor:"1,keyasint"` // of the token
	CSR    []byte           `cbor:"2,keyasint"` // DER
	Node   command.NodeInfo `cbor:"3,keyasint"`
}

// joinReply makes the joiner a node of the cluster.
type joinReply struct {
	Certificate certificateReply `cbor:"1,keyasint"`
	GossipKey   []byte           `cbor:"2,keyasint"`
}

const (
	joinTimeout = 15 * time.Second
	// joinAttempts bounds how often a cluster that does not answer is tried:
	// with the pause, about a minute.
	joinAttempts = 30
	joinPause    = 2 * time.Second
)

// codeRefused is the code of a [cluster.RemoteError] that tells another node
// why what it asked for is refused; asking elsewhere changes nothing.
const codeRefused = "refused"

// join makes this node a node of the token's cluster and starts it.
func (s *Server) join(ctx context.Context, text string) error {
	token, err := membership.ParseToken(text)
	if err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if s.member.Load() != nil {
		return errors.New("this node already has a cluster: to take it to another one, remove it there (kmsctl cluster remove) and start it with an empty data directory")
	}
	s.joining.Store(true)
	defer s.joining.Store(false)

	if err := s.beginAnew(); err != nil {
		return err
	}
	if err := s.testGenerator(ctx); err != nil {
		return err
	}
	creds := credentials{}
	if creds.keyPKCS8, err = s.joiningKey(); err != nil {
		return err
	}
	body, err := s.joinBody(ctx, token, creds.keyPKCS8)
	if err != nil {
		return err
	}
	defer clear(body)
	reply, err := s.askToJoin(ctx, token, body, joinAttempts)
	if err != nil {
		return err
	}
	creds.certificate, creds.authorities, creds.gossipKey = reply.Certificate.Certificate, reply.Certificate.Authorities, reply.GossipKey
	id := identity{ClusterID: token.ClusterID, NodeID: s.cfg.NodeID, ModuleKind: s.cfg.Module.Describe().Kind}
	if err := s.checkReceived(token.ClusterID, creds); err != nil {
		return err
	}
	if err := creds.save(s.cfg.DataDir); err != nil {
		return err
	}
	if err := id.save(s.cfg.DataDir); err != nil {
		return err
	}
	return s.resume(s.running, id)
}

// checkReceived refuses credentials with which this node could not start, before
// anything is saved that would have it try so at every start.
func (s *Server) checkReceived(clusterID string, creds credentials) error {
	_, err := transport.NewIdentity(clusterID, s.cfg.NodeID, creds.certificate, creds.keyPKCS8, creds.authorities...)
	if err == nil {
		return nil
	}
	invalid, is := errors.AsType[*transport.ValidityError](err)
	certificate, unread := x509.ParseCertificate(creds.certificate)
	if !is || unread != nil {
		return fmt.Errorf("joining the cluster: looking at what its member sent: %w", err)
	}
	signed := pki.Issued(certificate) // a moment ago, by whatever clock the cluster goes
	apart := invalid.Clock.Sub(signed).Round(time.Second)
	which := "ahead of"
	if apart < 0 {
		which = "behind"
	}
	return fmt.Errorf("joining the cluster: this node's clock is %s %s the cluster's: set right what is wrong, and have this node join again with the same token, or with a new one once that has expired: %w", apart.Abs(), which, invalid)
}

// joiningKey is this node's key, kept from the first attempt on: the token is
// spent on this key, so a joiner that died half-way may repeat itself.
func (s *Server) joiningKey() ([]byte, error) {
	path := filepath.Join(s.cfg.DataDir, nodeKeyFile)
	blocks, err := readPEM(path, "PRIVATE KEY")
	if err == nil {
		return blocks[0], nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := pki.NewNodeKey()
	if err != nil {
		return nil, fmt.Errorf("making this node's key: %w", err)
	}
	return key, writeFile(path, encodePEM("PRIVATE KEY", key))
}

func (s *Server) joinBody(ctx context.Context, token membership.Token, key []byte) ([]byte, error) {
	csr, err := pki.CSR(key)
	if err != nil {
		return nil, fmt.Errorf("making this node's certificate request: %w", err)
	}
	parsed, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("reading this node's certificate request: %w", err)
	}
	transportKey, err := s.cfg.Module.TransportKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("making the module's transport key: %w", err)
	}
	body, err := cbor.Marshal(joinRequest{
		Secret: token.Secret,
		CSR:    csr,
		Node:   s.nodeInfoOfKey(parsed.RawSubjectPublicKeyInfo, transportKey),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the request to join: %w", err)
	}
	return body, nil
}

// askToJoin asks until somebody answers, so many times; a refusal is final.
func (s *Server) askToJoin(ctx context.Context, token membership.Token, body []byte, attempts int) (*joinReply, error) {
	var last error
	for attempt := range attempts {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("joining the cluster: stopped before a member answered: %w", last)
			case <-time.After(joinPause):
			}
		}
		reply, err := joinOnce(ctx, token, body)
		switch {
		case err == nil:
			return reply, nil
		case errors.Is(err, transport.ErrCAPin):
			return nil, fmt.Errorf("joining the cluster: %w", err)
		}
		if _, is := errors.AsType[*transport.ValidityError](err); is {
			return nil, fmt.Errorf("joining the cluster: the clocks of this node and of its members differ, or a certificate there has run out; set right what is wrong and have this node join again with the same token: %w", err)
		}
		if refusal, ok := errors.AsType[*cluster.RemoteError](err); ok && refusal.Code == codeRefused {
			return nil, fmt.Errorf("the cluster refused this node: %w", refusal)
		}
		last = err
		s.cfg.Logger.Warn("joining the cluster; trying again", "error", err)
	}
	return nil, fmt.Errorf("joining the cluster: no member answered at the cluster addresses in the token; see that this machine reaches one of them, or make a new token if they are others by now: %w", last)
}

func joinOnce(ctx context.Context, token membership.Token, body []byte) (*joinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	raw, err := transport.Join(ctx, token.Addresses, token.CAPin, body)
	if err != nil {
		return nil, err
	}
	var reply joinReply
	if err := cbor.Unmarshal(raw, &reply); err != nil {
		return nil, fmt.Errorf("decoding the cluster's answer: %w", err)
	}
	return &reply, nil
}

// refuseRemote is an error whose words reach the node that asked.
func refuseRemote(format string, args ...any) error {
	return &cluster.RemoteError{Code: codeRefused, Message: fmt.Sprintf(format, args...)}
}

// answerJoin is the member's side. What the state machine refuses is told to
// the joiner; what failed here is an error, and it may try elsewhere.
func (s *Server) answerJoin(ctx context.Context, m *member, remote string, body []byte) ([]byte, error) {
	var req joinRequest
	if err := cbor.Unmarshal(body, &req); err != nil {
		return nil, refuseRemote("the request to join cannot be read")
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil {
		return nil, refuseRemote("the certificate request of the joining node cannot be read")
	}
	key := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	if string(key[:]) != string(req.Node.TLSKey) || !nodeIDPattern.MatchString(req.Node.ID) {
		return nil, refuseRemote("the request to join contradicts itself")
	}
	tokenID := sha256.Sum256(req.Secret[:])
	clear(req.Secret[:])
	admit := command.AdmitNode{TokenID: hex.EncodeToString(tokenID[:]), Node: req.Node}
	err = m.service.AdmitNode(ctx, remote, admit, func(root *state.Root) error { return s.seatFree(root, admit) })
	if refused, ok := errors.AsType[*kms.Error](err); ok && kms.IsRefusal(refused.Kind) {
		return nil, refuseRemote("%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	signed, err := s.sign(ctx, m, req.Node.ID, req.CSR, certificateHosts(req.Node.APIURL, req.Node.ClusterAddress))
	if err != nil {
		return nil, err
	}
	gossipKey, err := os.ReadFile(filepath.Join(s.cfg.DataDir, gossipKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading the gossip key: %w", err)
	}
	return cbor.Marshal(joinReply{Certificate: *signed, GossipKey: gossipKey})
}

// seatFree refuses a node under the id of another one that has its seat in Raft's
// configuration still, though it may be no node of the cluster any more: whoever
// is admitted in between keeps the seat, and would vote with an empty log where
// the old one has promised to keep what it had. Who has no token of use is told
// nothing of nodes: the command refuses it.
func (s *Server) seatFree(root *state.Root, admit command.AdmitNode) error {
	newcomer := admit.Node
	token, ok := root.JoinToken(admit.TokenID)
	if !ok || token.Expires <= root.Now() || token.UsedByAnother(newcomer.ID, newcomer.TLSKey) {
		return nil
	}
	old, known := root.Node(newcomer.ID)
	if known && bytes.Equal(old.TLSKey, newcomer.TLSKey) || !s.seated(newcomer.ID) {
		return nil
	}
	if known {
		return kms.Refuse(kms.KindNameTaken, "the node id %s is another node's: give this one another id and an empty data directory, or take that one out first (`kmsctl cluster remove`)", newcomer.ID)
	}
	return kms.Refuse(kms.KindNameTaken, "the node %s from before is still being removed: try again once `kmsctl cluster status` on a member lists it no more", newcomer.ID)
}

// reconcileMembers has the leader bring Raft's configuration in line with the
// state: every admitted node is a member, first as a standby (the cluster's
// autopilot promotes it), and nobody else is.
func (s *Server) reconcileMembers(ctx context.Context, m *member) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !m.node.IsLeader() {
			continue
		}
		if err := s.addAdmitted(ctx, m); err != nil {
			s.cfg.Logger.Warn("bringing admitted nodes into the cluster", "error", err)
		}
	}
}

func (s *Server) addAdmitted(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	members, err := m.node.Members(ctx)
	if err != nil {
		return fmt.Errorf("reading the cluster's configuration: %w", err)
	}
	known := make(map[string]bool, len(members))
	for _, member := range members {
		known[member.ID] = true
	}
	root := s.machine.State()
	if root.Cluster() == nil {
		return nil // it is being founded
	}
	for _, node := range root.Nodes() {
		if known[node.ID] {
			continue
		}
		if err := m.node.AddNonvoter(ctx, node.ID, node.ClusterAddress); err != nil {
			return fmt.Errorf("adding node %s: %w", node.ID, err)
		}
		s.cfg.Logger.Info("node added as a standby", "node", node.ID)
	}
	return s.settleSeats(ctx, m, root, members)
}
