package fsm

import "github.com/raftkms/raftkms/fsm/command"

// rotateGossipKey takes one step of a rotation of the gossip key. A step that
// was taken already, by whoever rotates at the same time, is refused.
func rotateGossipKey(c *call, b command.RotateGossipKey) (any, *Refusal) {
	cluster := *c.Cluster()
	rotating := len(cluster.SealedGossipOther) > 0
	switch {
	case (b.Step == command.GossipStage) != (len(b.Sealed) > 0) || len(b.Sealed) > 0 && !isBlob(b.Sealed):
		return nil, refuse(CodeInvalid, "a new gossip key comes with the first step, and only with that")
	case b.Step == command.GossipStage && rotating:
		return nil, refuse(CodeStale, "the gossip key is being rotated")
	case b.Step == command.GossipStage:
		cluster.SealedGossipOther, cluster.GossipStaged = b.Sealed, true
	case b.Step == command.GossipUse && rotating && cluster.GossipStaged:
		cluster.SealedGossip, cluster.SealedGossipOther = cluster.SealedGossipOther, cluster.SealedGossip
		cluster.GossipStaged = false
	case b.Step == command.GossipDrop && rotating && !cluster.GossipStaged:
		cluster.SealedGossipOther = nil
	case b.Step == command.GossipUse, b.Step == command.GossipDrop:
		return nil, refuse(CodeStale, "the rotation of the gossip key is not at that step")
	default:
		return nil, refuse(CodeInvalid, "there is no such step")
	}
	c.PutCluster(&cluster)
	return struct{}{}, nil
}
