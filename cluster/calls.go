package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/transport"
)

// Handle says who answers calls of a method on this node. peer is the id of the
// calling node, proved by its certificate. A [RemoteError], and this package's
// own kinds, reach the caller; any other error is logged here and the caller
// learns only that there was one. Methods do not begin with "cluster.".
func (n *Node) Handle(method string, h func(ctx context.Context, peer string, body []byte) ([]byte, error)) {
	n.rpc.Handle(method, func(ctx context.Context, peer string, body []byte) ([]byte, error) {
		reply, err := h(ctx, peer, body)
		return reply, toRemote(err)
	})
}

// HandleJoin says who answers callers without a certificate; see
// transport.JoinHandler. remote is the caller's network address.
func (n *Node) HandleJoin(h func(ctx context.Context, remote string, body []byte) ([]byte, error)) {
	n.port.HandleJoin(func(ctx context.Context, remote string, body []byte) ([]byte, error) {
		reply, err := h(ctx, remote, body)
		return reply, toRemote(err)
	})
}

// Call asks a node (this one, too) and waits for its reply, for a minute at
// most; bodies have up to 1 MiB. Errors are the handler's (a [RemoteError] or a
// kind of this package), [ErrUnreachable] when nothing was sent, or
// [ErrOutcomeUnknown] when no answer came.
func (n *Node) Call(ctx context.Context, nodeID, method string, body []byte) ([]byte, error) {
	if nodeID != n.cfg.NodeID {
		n.calls.Add(1)
		reply, err := n.rpc.Call(ctx, nodeID, method, body)
		return reply, fromCall(err)
	}
	h, ok := n.rpc.Handler(method)
	if !ok {
		return nil, fmt.Errorf("calling %.40q on this node: no such method: %w", method, ErrNotDone)
	}
	reply, err := h(ctx, nodeID, body)
	if err != nil {
		return nil, fromCall(transport.DecodeError(transport.EncodeError(err, func(err error) {
			n.log.Error("answering a call", "method", method, "err", err)
		})))
	}
	return reply, nil
}

// CallLeader is Call on the node that leads. It looks for another leader as
// long as ctx lasts and the call was certainly not carried out: no node that
// could be reached, or a handler that answers [ErrNotLeader].
func (n *Node) CallLeader(ctx context.Context, method string, body []byte) (reply []byte, err error) {
	err = n.atLeader(ctx, retryNotDone, func(e *epoch) (err error) {
		reply, err = n.callIn(ctx, e.late, e.leader, method, body)
		return err
	})
	return reply, err
}

// callIn is Call for as long as both contexts last.
func (n *Node) callIn(ctx, limit context.Context, nodeID, method string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(limit, func() { cancel(errLeaderChanged) })()
	return n.Call(ctx, nodeID, method, body)
}

var errLeaderChanged = fmt.Errorf("another leader was elected meanwhile")

// openCalls registers what this package answers, and begins to.
func (n *Node) openCalls() {
	n.rpc = transport.NewRPC(n.port, n.addressOf)
	n.Handle(methodPropose, n.servePropose)
	n.Handle(methodReadPoint, n.serveReadPoint)
	n.Handle(methodLease, n.serveLease)
	n.Handle(methodFence, n.serveFence)
	n.Handle(methodReleased, n.serveReleased)
	n.Handle(methodGossip, func(context.Context, string, []byte) ([]byte, error) {
		return []byte(n.gossip.Address()), nil
	})
	n.Handle(methodRemoved, n.serveRemoved)
	n.rpc.Serve()
}

// serveRemoved believes the leader when it says that this node was removed: a
// removed follower is not told by Raft itself, and would ask for votes for ever.
func (n *Node) serveRemoved(_ context.Context, peer string, _ []byte) ([]byte, error) {
	if leader, _ := n.Leader(); leader != peer {
		return nil, &RemoteError{Code: transport.CodeInvalid, Message: "only the leader may say so"}
	}
	n.fatal(ErrRemoved)
	return nil, nil
}

// addressOf is the cluster address of a member, or of one just removed.
func (n *Node) addressOf(nodeID string) (string, bool) {
	for _, server := range n.servers() {
		if server.ID == raft.ServerID(nodeID) {
			return string(server.Address), true
		}
	}
	if address, ok := n.gone.Load(nodeID); ok {
		return address.(string), true
	}
	return "", false
}

// SetGossipKeys has the node's gossip speak with one key and, while the key is
// rotated, understand another one besides; other is nil otherwise.
func (n *Node) SetGossipKeys(primary, other []byte) error { return n.gossip.SetKeys(primary, other) }

// hint is where gossip sees a node, or where it was last seen.
func (n *Node) hint(nodeID string) string {
	if gossip := n.found.Load(); gossip != nil {
		for _, peer := range gossip.Peers() {
			if peer.NodeID == nodeID {
				return peer.ClusterAddress
			}
		}
	}
	if book := n.addresses.Load(); book != nil {
		return book.of(nodeID)
	}
	return ""
}

// keepGossip brings members of Raft's configuration into the gossip that are
// not in it: nodes forget one another after half a minute apart, and never meet
// again by themselves. The gossip address is asked for over the cluster port,
// where everyone is who they say they are.
func (n *Node) keepGossip() {
	for {
		wait := n.cfg.Timing.Rejoin
		if !n.meetMembers() {
			wait /= 10
		}
		n.noteAddresses()
		select {
		case <-time.After(wait):
		case <-n.ctx.Done():
			return
		}
	}
}

// noteAddresses writes down where gossip sees the members.
func (n *Node) noteAddresses() {
	members := map[string]bool{n.cfg.NodeID: true}
	for _, server := range n.servers() {
		members[string(server.ID)] = true
	}
	seen := map[string]string{n.cfg.NodeID: n.advertise} // for checkAlone
	for _, peer := range n.gossip.Peers() {
		seen[peer.NodeID] = peer.ClusterAddress
	}
	if err := n.addresses.Load().note(seen, func(id string) bool { return members[id] }); err != nil {
		n.log.Warn("this node may not find the others when it starts again and all have moved", "err", err)
	}
}

// meetMembers reports whether all other members are in the gossip.
func (n *Node) meetMembers() bool {
	present := map[string]bool{n.cfg.NodeID: true}
	for _, peer := range n.gossip.Peers() {
		present[peer.NodeID] = true
	}
	servers := n.servers()
	all := len(servers) > 0
	for _, server := range servers {
		id := string(server.ID)
		if present[id] {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.Request)
		address, err := n.Call(ctx, id, methodGossip, nil)
		cancel()
		if err == nil {
			err = n.gossip.Join(id, string(address))
		}
		if err != nil {
			n.log.Debug("bringing a member into the gossip", "member", id, "err", err)
			all = false
		}
	}
	return all
}
