package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Feature levels. Every node says with which of them its program can run; the
// cluster is taken to a higher one when all of its nodes know it, and never back.
// Until then each node may go back to the program that it ran before.

// MaxProgramVersion bounds the text of a program's version, in bytes.
const MaxProgramVersion = 64

// raiseLevel takes the cluster to a higher feature level.
func raiseLevel(c *call, b command.RaiseLevel) (any, *Refusal) {
	cluster := *c.Cluster()
	if b.Level <= cluster.FeatureLevel {
		return nil, refuse(CodeStale, "the cluster is at feature level %d, and goes to no lower one", cluster.FeatureLevel)
	}
	for _, node := range c.Nodes() {
		p := program(node)
		if refusal := checkProgram(node.ID, p, b.Level); refusal != nil {
			return nil, refusal
		}
	}
	cluster.FeatureLevel = b.Level
	c.PutCluster(&cluster)
	return struct{}{}, nil
}

// reportNode notes where a node is and what it runs since it was started.
func reportNode(c *call, b command.ReportNode) (any, *Refusal) {
	old, known := c.Node(b.NodeID)
	switch {
	case !known:
		return nil, refuse(CodeNotFound, "there is no such node")
	case !isAddress(b.ClusterAddress) || !isAddress(b.APIURL) || !isAddress(b.GossipAddress):
		return nil, refuse(CodeInvalid, "an address of the node is missing or malformed")
	}
	if refusal := checkProgram(b.NodeID, b.Program, c.Cluster().FeatureLevel); refusal != nil {
		return nil, refusal
	}
	node := *old
	node.ClusterAddress, node.APIURL, node.GossipAddress = b.ClusterAddress, b.APIURL, b.GossipAddress
	runs(&node, b.Program)
	c.PutNode(&node)
	return nodeResult(&node), nil
}

// checkProgram refuses a program that cannot run at a feature level.
func checkProgram(nodeID string, p command.Program, level uint32) *Refusal {
	lowest, highest := max(p.Lowest, 1), max(p.Highest, 1)
	if lowest > highest || len(p.Version) > MaxProgramVersion {
		return refuse(CodeInvalid, "what the node says of its program contradicts itself")
	}
	if level < lowest || level > highest {
		return refuse(CodeFeatureLevel, "node %s runs raftkms %q, which knows the feature levels %d to %d and not %d: start it with a version that does, or take it out of the cluster",
			nodeID, p.Version, lowest, highest, level)
	}
	return nil
}

// program returns what a node said of its program.
func program(n *state.Node) command.Program {
	return command.Program{Version: n.Version, Lowest: n.LowestLevel, Highest: n.HighestLevel}
}

// runs notes what a node says of its program.
func runs(n *state.Node, p command.Program) {
	n.Version, n.LowestLevel, n.HighestLevel = p.Version, p.Lowest, p.Highest
}
