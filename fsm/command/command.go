// Package command defines the writes of raftkms: what a proposal carries, how
// it is encoded, and which kinds of write there are. It decides nothing; the
// state machine does (package fsm).
//
// Encoding: CBOR, core deterministic, integer keys; golden bytes are in
// testdata. A node that meets a type or a version it does not know stops
// rather than diverges.
package command

// Type names one kind of write. Numbers are never reused.
type Type uint16

// The kinds of write that a cluster began with; further ones are in files of
// their own. Adding one means: a body and a row in its file, a line in
// fsm/apply.go, a golden file, a line in additive.go or none (then it is fenced).
const (
	TypeBootstrap       Type = 1
	TypeCreateKey       Type = 2
	TypeEnableKey       Type = 3
	TypeDisableKey      Type = 4
	TypeCreateJoinToken Type = 5
	TypeAdmitNode       Type = 6
	TypeApproveRoots    Type = 7
)

// Command is one write, in the log.
type Command struct {
	Type     Type     `cbor:"1,keyasint"`
	Level    uint32   `cbor:"2,keyasint"` // feature level it needs; above the cluster's it is refused, above the binary's the node stops
	Proposal Proposal `cbor:"3,keyasint"`
	Caller   Caller   `cbor:"4,keyasint"`
	Time     int64    `cbor:"5,keyasint"` // Unix ms, set by the leader when it proposes
	Body     []byte   `cbor:"6,keyasint"` // encoded body of the type
}

// Proposal makes a command apply at most once.
type Proposal struct {
	ID    string   `cbor:"1,keyasint"` // principal and client token, or a UUID made by the node; at most 128 bytes
	Hash  [32]byte `cbor:"2,keyasint"` // SHA-256 of the request as the client meant it; another hash under one ID is refused
	First int64    `cbor:"3,keyasint"` // Unix ms of the first attempt; 0 until the leader sets it to its time
}

// CallerKind says which door a command came through.
type CallerKind uint8

// The doors.
const (
	CallerUser     CallerKind = 1 // an API credential; authorised again in apply
	CallerOperator CallerKind = 2 // the node's local admin socket; cluster commands only
	CallerNode     CallerKind = 3 // the joining protocol; AdmitNode only
	CallerSystem   CallerKind = 4 // a node itself: what is due, and what it has to report
)

// Caller is who asks for a write, as authenticated by the answering node.
type Caller struct {
	Kind         CallerKind `cbor:"1,keyasint"`
	UserID       string     `cbor:"2,keyasint"`
	CredentialID string     `cbor:"3,keyasint"` // access key id
	ProjectID    string     `cbor:"4,keyasint"` // project the call is for
	Source       string     `cbor:"5,keyasint"` // client IP address
	MFA          bool       `cbor:"6,keyasint"`
	NodeID       string     `cbor:"7,keyasint"` // node that answers the client
	RequestID    string     `cbor:"8,keyasint"`
	Via          Via        `cbor:"20,keyasint,omitempty"` // kind of the credential
	Epoch        uint64     `cbor:"21,keyasint,omitempty"` // ViaToken: of the user's credentials, when the token was made
	Expires      int64      `cbor:"22,keyasint,omitempty"` // Unix ms; when the credential ends by itself, 0: never
	Groups       string     `cbor:"23,keyasint,omitempty"` // ViaProvider: ids of the groups that the provider puts the user into, 32 digits each, one behind the other
}

// Bootstrap is the first command of a cluster: its record, its first account,
// project, administrator and access key, and its first node.
type Bootstrap struct {
	ClusterID      string   `cbor:"1,keyasint"`
	FeatureLevel   uint32   `cbor:"2,keyasint"`
	Region         string   `cbor:"3,keyasint"`
	ModuleKind     string   `cbor:"4,keyasint"`
	RootGeneration uint32   `cbor:"5,keyasint"`
	Canary         []byte   `cbor:"6,keyasint"`
	CACertificate  []byte   `cbor:"7,keyasint"` // DER
	SealedCAKey    []byte   `cbor:"8,keyasint"`
	SealedGossip   []byte   `cbor:"9,keyasint"`
	DomainID       string   `cbor:"10,keyasint"`
	DomainName     string   `cbor:"11,keyasint"`
	ProjectID      string   `cbor:"12,keyasint"`
	UserID         string   `cbor:"13,keyasint"`
	UserName       string   `cbor:"14,keyasint"`
	PasswordHash   string   `cbor:"15,keyasint"`
	AccessKeyID    string   `cbor:"16,keyasint"`
	SealedSecret   []byte   `cbor:"17,keyasint"`
	Node           NodeInfo `cbor:"18,keyasint"`
	LineageID      string   `cbor:"19,keyasint,omitempty"` // 32 lower-case hex digits, drawn at random
}

// NodeInfo is what a node says of itself when it is admitted.
type NodeInfo struct {
	ID             string  `cbor:"1,keyasint"`
	TLSKey         []byte  `cbor:"2,keyasint"`
	ClusterAddress string  `cbor:"3,keyasint"`
	APIURL         string  `cbor:"4,keyasint"`
	GossipAddress  string  `cbor:"5,keyasint"`
	TransportKey   []byte  `cbor:"6,keyasint"`
	ModuleKind     string  `cbor:"7,keyasint"`
	Standby        bool    `cbor:"8,keyasint,omitempty"` // it is to stay without a vote
	Program        Program `cbor:"14,keyasint,omitzero"`
}

// CreateKey makes a key with its first version (origin kms), or without one
// and without what comes with one (origin external).
type CreateKey struct {
	KeyID          string `cbor:"1,keyasint"` // drawn by the answering node
	ProjectID      string `cbor:"2,keyasint"`
	Name           string `cbor:"3,keyasint"`
	Description    string `cbor:"4,keyasint"`
	Spec           string `cbor:"5,keyasint"`
	Usage          string `cbor:"6,keyasint"`
	Origin         string `cbor:"7,keyasint"`
	Level          uint8  `cbor:"8,keyasint"`
	RootGeneration uint32 `cbor:"9,keyasint"`
	Blob           []byte `cbor:"10,keyasint"`
	PublicKey      []byte `cbor:"11,keyasint"`
	MAC            []byte `cbor:"12,keyasint"`
	Protected      bool   `cbor:"13,keyasint,omitempty"` // its deletion cannot be scheduled before that is switched off
}

// EnableKey takes a key from Disabled to Enabled.
type EnableKey struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
}

// DisableKey takes a key from Enabled to Disabled. Fenced.
type DisableKey struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
}

// CreateJoinToken registers a one-time join token by the hash of its secret.
type CreateJoinToken struct {
	ID      string `cbor:"1,keyasint"` // lower-case hex SHA-256 of the secret
	Expires int64  `cbor:"2,keyasint"`
}

// AdmitNode spends a join token. The same node (by its TLS key) may repeat it.
type AdmitNode struct {
	TokenID string   `cbor:"1,keyasint"`
	Node    NodeInfo `cbor:"2,keyasint"`
}

// ApproveRoots records that an operator compared the transport key's
// fingerprint and lets the root set go to that node.
type ApproveRoots struct {
	NodeID         string `cbor:"1,keyasint"`
	TransportKey   []byte `cbor:"2,keyasint"` // SHA-256
	RootGeneration uint32 `cbor:"3,keyasint"`
}
