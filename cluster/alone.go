package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/cluster/transport"
)

// alonePatience bounds the look at where this node was before.
const alonePatience = 3 * time.Second

// checkAlone refuses to start from a copy of a data directory while the node that
// it was copied from runs: two processes that vote, and acknowledge, in one name
// break what Raft promises. A node that comes back under another address asks for
// itself at the one before: who answers there with its certificate is another
// process, since this one does not listen yet. What is asked for is no proof that
// there is no other one: it may be stopped, or cut off.
func (n *Node) checkAlone(ctx context.Context, book *addressBook) error {
	before := book.of(n.cfg.NodeID)
	now := n.cfg.AdvertiseAddress
	if now == "" {
		now = n.cfg.ListenAddress
	}
	if before == "" || before == now {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, alonePatience)
	defer cancel()
	if transport.Answers(ctx, n.cfg.Identity, n.cfg.NodeID, before) != nil {
		return nil
	}
	return fmt.Errorf("node %s runs at %s already, and this is a copy of its data directory: start only one of the two, or empty this one and join under another node id", n.cfg.NodeID, before)
}
