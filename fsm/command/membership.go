package command

// Members: which nodes belong to the cluster, and which of them vote.

// The kinds of write of this file.
const (
	TypeRemoveNode      Type = 150
	TypeSetStandby      Type = 151
	TypeRotateGossipKey Type = 152
	TypeReportNode      Type = 153
	TypeRaiseLevel      Type = 154
	TypeRotateCA        Type = 155
	TypeReportCAs       Type = 156
)

var membershipRows = []row{
	{TypeRemoveNode, "remove-node", 1, body[RemoveNode]},
	{TypeSetStandby, "set-standby", 1, body[SetStandby]},
	{TypeRotateGossipKey, "rotate-gossip-key", 1, body[RotateGossipKey]},
	{TypeReportNode, "report-node", 1, body[ReportNode]},
	{TypeRaiseLevel, "raise-level", 1, body[RaiseLevel]},
	{TypeRotateCA, "rotate-ca", 1, body[RotateCA]},
	{TypeReportCAs, "report-cas", 1, body[ReportCAs]},
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

// ReportNode says what a node is since it was started: where it is, and which
// program it runs.
type ReportNode struct {
	NodeID         string  `cbor:"1,keyasint"`
	ClusterAddress string  `cbor:"2,keyasint"`
	APIURL         string  `cbor:"3,keyasint"`
	GossipAddress  string  `cbor:"4,keyasint"`
	Program        Program `cbor:"5,keyasint"`
}

// Program is which version of raftkms a node runs, and what that can do.
type Program struct {
	Version string `cbor:"1,keyasint,omitempty"` // for people
	Lowest  uint32 `cbor:"2,keyasint,omitempty"` // feature level at which it can still run; 0: 1
	Highest uint32 `cbor:"3,keyasint,omitempty"` // newest feature level that it knows; 0: 1
}

// RaiseLevel takes the cluster to a higher feature level, for good.
type RaiseLevel struct {
	Level uint32 `cbor:"1,keyasint"`
}

// Type returns [TypeReportNode].
func (ReportNode) Type() Type { return TypeReportNode }

// Type returns [TypeRaiseLevel].
func (RaiseLevel) Type() Type { return TypeRaiseLevel }

// RotateCA takes one step of a rotation of the cluster's CA. CAUse is refused
// until all nodes trust the new CA, CADrop until all have certificates of it.
type RotateCA struct {
	Step        CAStep `cbor:"1,keyasint"`
	Certificate []byte `cbor:"2,keyasint,omitempty"` // of the new CA, DER: with CAStage only
	Sealed      []byte `cbor:"3,keyasint,omitempty"` // its PKCS #8, sealed under root-seal: likewise
}

// CAStep is a step of a rotation of the cluster's CA.
type CAStep uint8

// The steps, in their order; CAAbort instead of CAUse.
const (
	CAStage CAStep = 1 // nodes trust the new CA as well
	CAUse   CAStep = 2 // it signs, and nodes renew their certificates; both are trusted
	CADrop  CAStep = 3 // the old one is not trusted any more
	CAAbort CAStep = 4 // the new one is given up
)

// ReportCAs says which CAs a node trusts and which one signed its certificate,
// each by the SHA-256 of the CA's certificate. Nodes do so while the CA is rotated.
type ReportCAs struct {
	NodeID  string   `cbor:"1,keyasint"`
	Trusted [][]byte `cbor:"2,keyasint"`
	Issuer  []byte   `cbor:"3,keyasint"`
}

// Type returns [TypeRotateCA].
func (RotateCA) Type() Type { return TypeRotateCA }

// Type returns [TypeReportCAs].
func (ReportCAs) Type() Type { return TypeReportCAs }
