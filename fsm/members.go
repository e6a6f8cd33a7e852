package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// removeNode takes a node out of the cluster. The leader takes it out of
// Raft's configuration after that; whether a majority remains is asked before,
// where it can be known who answers. The last one that may vote stays.
func removeNode(c *call, b command.RemoveNode) (any, *Refusal) {
	node, known := c.Node(b.NodeID)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such node")
	}
	if voters(c.Nodes(), b.NodeID) == 0 {
		return nil, refuse(CodeInvalid, "no other node may vote: the cluster would have no leader")
	}
	c.DeleteNode(node)
	// The token that it came with would let it in again.
	for _, t := range c.JoinTokens() {
		if t.UsedBy == node.ID {
			c.DeleteJoinToken(t)
		}
	}
	cluster := *c.Cluster()
	cluster.Fence = c.index
	c.PutCluster(&cluster)
	return nodeResult(node), nil
}

// setStandby says whether a node is to stay without a vote. It is not fenced:
// a node serves the same with a vote and without.
func setStandby(c *call, b command.SetStandby) (any, *Refusal) {
	old, known := c.Node(b.NodeID)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such node")
	}
	if b.Standby && voters(c.Nodes(), b.NodeID) == 0 {
		return nil, refuse(CodeInvalid, "no other node may vote: the cluster would have no leader")
	}
	if old.Standby != b.Standby {
		node := *old
		node.Standby = b.Standby
		c.PutNode(&node)
		old = &node
	}
	return nodeResult(old), nil
}

// voters counts the nodes that are to have a vote, one left out.
func voters(nodes []*state.Node, without string) int {
	count := 0
	for _, n := range nodes {
		if n.ID != without && !n.Standby {
			count++
		}
	}
	return count
}
