package command

// Members: which nodes belong to the cluster, and which of them vote.

// The kinds of write of this file.
const (
	TypeRemoveNode Type = 150
	TypeSetStandby Type = 151
)

var membershipRows = []row{
	{TypeRemoveNode, "remove-node", 1, body[RemoveNode]},
	{TypeSetStandby, "set-standby", 1, body[SetStandby]},
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

// Type returns [TypeRemoveNode].
func (RemoveNode) Type() Type { return TypeRemoveNode }

// Type returns [TypeSetStandby].
func (SetStandby) Type() Type { return TypeSetStandby }
