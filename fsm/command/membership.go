package command

// Members: which nodes belong to the cluster, and which of them vote.

// The kinds of write of this file.
const (
	TypeRemoveNode      Type = 150
	TypeSetStandby      Type = 151
	TypeRotateGossipKey Type = 152
)

var membershipRows = []row{
	{TypeRemoveNode, "remove-node", 1, body[RemoveNode]},
	{TypeSetStandby, "set-standby", 1, body[SetStandby]},
	{TypeRotateGossipKey, "rotate-gossip-key", 1, body[RotateGossipKey]},
}

// RemoveNode takes a node out of the cluster: its certificate is not accepted
// any more. Fenced.
type RemoveNode struct {
	NodeID string `cbor:"1,keyasint"`
}

// SetStandby says whether a node is to stay without a vote.
type SetStandby struct {
	NodeID  string `cbor:"1,keyasint"`
	Standby bool   `cbor:"2,keyasint"`
}

// RotateGossipKey takes one step of a rotation of the gossip key. Between two
// of them every node follows, so that no two nodes ever lack a key in common.
type RotateGossipKey struct {
	Step   GossipStep `cbor:"1,keyasint"`
	Sealed []byte     `cbor:"2,keyasint,omitempty"` // the new key, sealed under root-seal: with GossipStage only
}

// GossipStep is a step of a rotation of the gossip key.
type GossipStep uint8

// The steps, in their order.
const (
	GossipStage GossipStep = 1 // nodes understand the new key as well
	GossipUse   GossipStep = 2 // they speak in it, and still understand the old one
	GossipDrop  GossipStep = 3 // they forget the old one
)

// Type returns [TypeRemoveNode].
func (RemoveNode) Type() Type { return TypeRemoveNode }

// Type returns [TypeSetStandby].
func (SetStandby) Type() Type { return TypeSetStandby }

// Type returns [TypeRotateGossipKey].
func (RotateGossipKey) Type() Type { return TypeRotateGossipKey }
