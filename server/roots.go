package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The root keys on their way to a node that has joined: wrapped, module to
// module, after an operator compared the fingerprint of the joiner's transport
// key with what the joiner's own console shows. The joiner takes them only if
// they open the canary in the replicated state.

const (
	callTransportKey = "root.transport-key"
	callInstallRoots = "root.install"
	callProvedKeys   = "root.proved-transport-keys"
	callNodeStatus   = "node.status"

	rootsPause    = time.Second
	newcomerPause = 200 * time.Millisecond
)

// nodeStatus is what a member tells another about itself.
type nodeStatus struct {
	Roots  bool `cbor:"1,keyasint"`           // its module has proved to hold the roots
	Serves bool `cbor:"2,keyasint,omitempty"` // and does not fail
	// Clocks is, of a leader, how far members' clocks are ahead of replicated time, in ms.
	Clocks map[string]int64 `cbor:"3,keyasint,omitempty"`
}

// rootKeeper knows whether this node's module holds the roots and takes them
// when they come.
type rootKeeper struct {
	server *Server
	member *member

	mu       sync.Mutex
	identity identity
	proved   chan struct{} // closed when the roots are held
	cleaned  atomic.Uint32 // generation beside which the module holds nothing; 0: it may

	// changing is held by who puts a generation into the module: one that is
	// made here must not take the place of one that has just come.
	changing sync.Mutex
}

func newRootKeeper(s *Server, m *member, id identity) *rootKeeper {
	k := &rootKeeper{server: s, member: m, identity: id, proved: make(chan struct{})}
	if id.hasRoots() {
		close(k.proved)
	}
	return k
}

// held says whether this node's module has proved to hold the roots.
func (k *rootKeeper) held() bool {
	select {
	case <-k.proved:
		return true
	default:
		return false
	}
}

// run proves roots that came just before the process died, and then follows
// what the state says about them.
func (k *rootKeeper) run(ctx context.Context) {
	if !k.held() {
		k.server.cfg.Logger.Info("this node waits for the root keys: `kmsctl root fingerprint` here, then `kmsctl root approve` on a node that has them")
	}
	for !k.held() {
		if _, err := k.server.cfg.Module.OpenRoots(ctx, k.member.clusterID); err == nil {
			if err := k.prove(ctx); err == nil {
				break
			} else if !errors.Is(err, errStateUnknown) {
				k.server.cfg.Logger.Warn("proving the root keys in the module", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-k.proved:
		case <-time.After(rootsPause):
		}
	}
	said := ""
	for {
		err := k.follow(ctx)
		if err == nil {
			said = ""
		} else if err.Error() != said && ctx.Err() == nil { // once, and not every second that a device is away
			said = err.Error()
			k.server.cfg.Logger.Warn("following the rotation of the root keys", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(rootsPause):
		}
	}
}

// errStateUnknown means that no canary has been replicated to this node yet.
var errStateUnknown = errors.New("this node has not received the cluster's state yet")

// prove has the module's roots open the replicated canary; then they are held.
// Roots that do not are destroyed: they are somebody else's.
func (k *rootKeeper) prove(ctx context.Context) error {
	c := k.server.machine.State().Cluster()
	if c == nil {
		return errStateUnknown
	}
	canary, err := hsm.DecodeCanary(c.Canary)
	if err != nil {
		return fmt.Errorf("reading the cluster's canary: %w", err)
	}
	module := k.server.cfg.Module
	if err := canary.Verify(ctx, module); err != nil {
		if errors.Is(err, hsm.ErrCanary) {
			if destroyErr := module.DestroyRoots(ctx, k.member.clusterID, hsm.RootGeneration(c.RootGeneration)); destroyErr != nil {
				return errors.Join(err, destroyErr)
			}
		}
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held() {
		return nil
	}
	k.identity.Canary = hex.EncodeToString(c.Canary)
	if err := k.identity.save(k.server.cfg.DataDir); err != nil {
		return err
	}
	close(k.proved)
	k.server.cfg.Logger.Info("this node's module holds the root keys", "generation", c.RootGeneration)
	k.server.events.note(kms.OpReceiveRoots, func(call *kms.Call) {
		call.AboutResource(k.server.cfg.NodeID, "")
		call.Asked().Number("generation", int64(c.RootGeneration))
	})
	return nil
}

// install takes a root set that another member sent: the one in use, for which
// an operator has approved this node, or in a rotation the one before or after.
func (k *rootKeeper) install(ctx context.Context, body []byte) error {
	var bundle hsm.RootBundle
	if err := cbor.Unmarshal(body, &bundle); err != nil {
		return refuseRemote("the wrapped root keys cannot be decoded")
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	if err := k.member.service.Current(ctx); err != nil {
		return err
	}
	root := k.server.machine.State()
	c, self := root.Cluster(), k.server.cfg.NodeID
	if c == nil {
		return refuseRemote("%s", errStateUnknown)
	}
	node, ok := root.Node(self)
	if !ok || node.RootsApproved != c.RootGeneration || bundle.Cluster != k.member.clusterID {
		return refuseRemote("no operator approved these root keys for node %s", self)
	}
	canary, err := canaryOf(c, uint32(bundle.Generation))
	if err != nil {
		return refuseRemote("%s", err)
	}
	module := k.server.cfg.Module
	k.cleaned.Store(0)
	lacks := canary.Verify(ctx, module) != nil
	if !lacks {
		if lacks, err = k.server.lacksRoots(ctx, uint32(bundle.Generation)); err != nil {
			return refuseRemote("%s", err)
		}
	}
	if lacks {
		err := module.ImportRoots(ctx, bundle)
		if errors.Is(err, hsm.ErrRootsExist) { // of an attempt that came to nothing: they do not open the canary
			if err = module.DestroyRoots(ctx, bundle.Cluster, bundle.Generation); err == nil {
				err = module.ImportRoots(ctx, bundle)
			}
		}
		if err != nil {
			return fmt.Errorf("taking the root keys into the module: %w", err)
		}
	}
	if err := canary.Verify(ctx, module); errors.Is(err, hsm.ErrCanary) {
		if err := module.DestroyRoots(ctx, bundle.Cluster, bundle.Generation); err != nil {
			return err
		}
		return refuseRemote("the root keys that were sent do not open the cluster's canary")
	} else if err != nil {
		return err
	}
	if uint32(bundle.Generation) == c.RootGeneration {
		return k.prove(ctx)
	}
	if lacks, err = k.server.lacksRoots(ctx, uint32(bundle.Generation)); err != nil || lacks {
		return err // the other device gets them next
	}
	if uint32(bundle.Generation) == c.RootNext {
		return k.member.service.ReportRoots(ctx, c.RootNext, c.RootNextCanary)
	}
	return nil
}

// canaryOf returns the canary of a generation that the state knows.
func canaryOf(c *state.Cluster, generation uint32) (hsm.Canary, error) {
	encoded := map[uint32][]byte{c.RootNext: c.RootNextCanary, c.RootOld: c.RootOldCanary, c.RootGeneration: c.Canary}[generation]
	if len(encoded) == 0 || generation == 0 {
		return hsm.Canary{}, fmt.Errorf("the cluster has no root generation %d", generation)
	}
	canary, err := hsm.DecodeCanary(encoded)
	if err != nil {
		return hsm.Canary{}, fmt.Errorf("reading the cluster's canary: %w", err)
	}
	return canary, nil
}

// approveRoots sends the root set to a node, once its fingerprint has been
// compared by an operator.
func (s *Server) approveRoots(ctx context.Context, requestID string, req wire.ApproveRootsRequest) error {
	m := s.member.Load()
	if m == nil {
		return errNoCluster
	}
	if !m.roots.held() {
		return errors.New("this node does not hold the root keys itself; approve on a node that does")
	}
	if err := m.service.Current(ctx); err != nil {
		return err
	}
	node, ok := s.machine.State().Node(req.NodeID)
	if !ok {
		return fmt.Errorf("the cluster has no node %q", req.NodeID)
	}
	if !strings.EqualFold(strings.ReplaceAll(req.Fingerprint, ":", ""), hex.EncodeToString(node.TransportKey)) {
		return fmt.Errorf("the fingerprint is not that of the transport key with which node %s joined; compare again with what its own console shows", req.NodeID)
	}
	err := m.service.ApproveRoots(ctx, requestID, command.ApproveRoots{
		NodeID:         req.NodeID,
		TransportKey:   node.TransportKey,
		RootGeneration: s.machine.State().Cluster().RootGeneration,
	})
	if err != nil {
		return err
	}
	pin := []byte(req.OfficerPIN)
	defer clear(pin)
	if err := s.sendRoots(ctx, m, req.NodeID, node.TransportKey, pin); err != nil {
		return err
	}
	// Of two devices the second needs them, too, and in a rotation both need the
	// other generation.
	c := s.machine.State().Cluster()
	for _, other := range []uint32{c.RootOld, c.RootGeneration, c.RootNext} {
		if other == 0 {
			continue
		}
		if err := s.sendGeneration(ctx, m, req.NodeID, other, pin); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) sendRoots(ctx context.Context, m *member, nodeID string, fingerprint, officerPIN []byte) error {
	publicKey, err := callNewcomer(ctx, m, nodeID)
	if err != nil {
		return fmt.Errorf("asking node %s for its transport key: %w", nodeID, err)
	}
	if sum := sha256.Sum256(publicKey); string(sum[:]) != string(fingerprint) {
		return fmt.Errorf("node %s has another transport key now than the one it joined with; have it join again", nodeID)
	}
	return s.exportTo(ctx, m, nodeID, s.machine.State().Cluster().RootGeneration, publicKey, officerPIN)
}

// exportTo has the module wrap a generation of the roots to a transport key, and
// sends it.
func (s *Server) exportTo(ctx context.Context, m *member, nodeID string, generation uint32, publicKey, officerPIN []byte) error {
	bundle, err := s.cfg.Module.Under(hsm.RootGeneration(generation)).ExportRoots(ctx, publicKey, officerPIN)
	if err != nil {
		return fmt.Errorf("wrapping the root keys: %w", err)
	}
	body, err := cbor.Marshal(bundle)
	if err != nil {
		return fmt.Errorf("encoding the wrapped root keys: %w", err)
	}
	if _, err := m.node.Call(ctx, nodeID, callInstallRoots, body); err != nil {
		return fmt.Errorf("sending the root keys to node %s: %w", nodeID, err)
	}
	return nil
}

// callNewcomer asks a node for its transport key. An operator may approve a
// node in the second after it was admitted, before it is a member that can be
// called, so what certainly did not arrive is repeated for a while.
func callNewcomer(ctx context.Context, m *member, nodeID string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for {
		publicKey, err := m.node.Call(ctx, nodeID, callTransportKey, nil)
		if !errors.Is(err, cluster.ErrNotDone) {
			return publicKey, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(newcomerPause):
		}
	}
}

// holdsRoots asks a member whether it could serve as leader.
func (s *Server) holdsRoots(ctx context.Context, nodeID string) bool {
	m := s.member.Load()
	if m == nil {
		return false
	}
	status, err := s.statusOf(ctx, m, nodeID)
	return err == nil && status.Roots
}

// handleCalls answers what members ask one another.
func (s *Server) handleCalls(m *member) {
	m.node.HandleJoin(func(ctx context.Context, remote string, body []byte) ([]byte, error) {
		return s.answerJoin(ctx, m, remote, body)
	})
	m.node.Handle(callRenew, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
		return s.answerRenewal(ctx, m, peer, body)
	})
	m.node.Handle(callSearchTraces, s.answerSearch)
	m.node.Handle(callFollowTraces, s.answerFollow)
	m.node.Handle(callKeepCheckpoint, m.publisher.answerKeep)
	m.node.Handle(callProveTraces, m.publisher.answerProof)
	m.node.Handle(callVerifyTraces, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return s.answerVerifyTraces(ctx, body)
	})
	m.node.Handle(callTransportKey, func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		return s.cfg.Module.TransportKey(ctx)
	})
	m.node.Handle(callProvedKeys, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return m.roots.answerProvedKeys(ctx, body)
	})
	m.node.Handle(callInstallRoots, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return nil, m.roots.install(ctx, body)
	})
	m.node.Handle(callVerifyRoots, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return s.answerVerifyRoots(ctx, m, body)
	})
	m.node.Handle(callFollowGossip, m.gossip.answerFollow)
	m.node.Handle(callFollowCAs, m.cas.answer)
	m.node.Handle(callMayRemove, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return nil, s.answerMayRemove(ctx, m, string(body))
	})
	m.node.Handle(callTransfer, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return nil, m.handOn(ctx, string(body))
	})
	m.node.Handle(callVerifyErasure, func(ctx context.Context, _ string, body []byte) ([]byte, error) {
		return s.answerVerify(ctx, m, body)
	})
	m.node.Handle(callNodeStatus, func(context.Context, string, []byte) ([]byte, error) {
		return cbor.Marshal(s.ownStatus(m))
	})
	for _, method := range []string{callForward, callForwardOnce} {
		m.node.Handle(method, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
			return s.answerForwarded(ctx, m, peer, body)
		})
	}
	for _, call := range []string{callSealToken, callOpenToken, callTokenCheck} {
		m.node.Handle(call, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
			return s.answerAboutTokens(ctx, m, call, peer, body)
		})
	}
	m.node.Handle(callOpenSecret, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
		return s.answerOpenSecret(ctx, m, peer, body)
	})
}

// clusterID is the cluster this node belongs to.
func (k *rootKeeper) clusterID() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.identity.ClusterID
}

// fingerprint is what this node's own console shows of its transport key while
// it waits for the roots: lower-case hex SHA-256; empty afterwards.
func (k *rootKeeper) fingerprint() string {
	if k.held() {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	publicKey, err := k.server.cfg.Module.TransportKey(ctx)
	if err != nil {
		k.server.cfg.Logger.Warn("reading the transport key", "error", err)
		return ""
	}
	sum := sha256.Sum256(publicKey)
	return hex.EncodeToString(sum[:])
}
