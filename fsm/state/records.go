package state

import (
	"bytes"
	"slices"
)

// LowestFeatureLevel is the lowest feature level at which this binary can run:
// that of the oldest clusters that it can be brought into by a rolling upgrade.
const LowestFeatureLevel uint32 = 1

// FeatureLevel is the highest feature level that this binary knows. Commands,
// snapshots and hashes above it stop the node.
const FeatureLevel uint32 = 1

// DefaultKeyQuota is how many keys may exist at once in a new project.
const DefaultKeyQuota uint32 = 100

// The records of the replicated state. Every record is immutable once it is
// in a [Root]: apply makes a new one and swaps it in, so whoever holds a Root
// holds a consistent past for as long as it likes.
//
// Encoding: CBOR, core deterministic (RFC 8949 §4.2.1), integer keys. A key
// number is never reused; a field added later is written only once the
// cluster's feature level allows it.
//
// Times are replicated time in Unix milliseconds. Fence is the log index of
// the last fenced command that changed the record (a removal leaves its index
// on the parent record); answers computed from it wait until that index is
// released (DESIGN.md §4).

// Cluster is the one record about the cluster itself.
type Cluster struct {
	ID             string   `cbor:"1,keyasint"`  // UUID, lower case
	FeatureLevel   uint32   `cbor:"2,keyasint"`  // nothing above it is emitted
	Generation     uint32   `cbor:"3,keyasint"`  // grows with each restore; no old node or log mixes in
	Region         string   `cbor:"4,keyasint"`  // names the first project
	ModuleKind     string   `cbor:"5,keyasint"`  // soft or pkcs11; joiners must have the same
	RootGeneration uint32   `cbor:"6,keyasint"`  // of the root set in use
	Canary         []byte   `cbor:"7,keyasint"`  // encoded hsm.Canary: proves a root set
	CACertificates [][]byte `cbor:"8,keyasint"`  // DER; the first one signs, all are trusted
	SealedCAKey    []byte   `cbor:"9,keyasint"`  // PKCS#8 of the first, sealed under root-seal
	SealedGossip   []byte   `cbor:"10,keyasint"` // the gossip key, sealed under root-seal
	Created        int64    `cbor:"11,keyasint"`
	Fence          uint64   `cbor:"12,keyasint"`

	Consistency Consistency `cbor:"13,keyasint,omitempty"` // what uses of keys are answered from
	MaxAge      int64       `cbor:"14,keyasint,omitempty"` // in ms, with ConsistencyAvailable: how old that may be
	StaleUntil  int64       `cbor:"18,keyasint,omitempty"` // Unix ms: from when on no node answers as an earlier MaxAge allowed

	SealedGossipOther []byte `cbor:"15,keyasint,omitempty"` // while the gossip key is rotated: the coming one, then the one before
	GossipStaged      bool   `cbor:"16,keyasint,omitempty"` // SealedGossipOther is the coming one

	// SealedCAKeyNext is there while the second of CACertificates is a CA to come,
	// and is its key. Without it, the second is the one before.
	SealedCAKeyNext []byte `cbor:"17,keyasint,omitempty"`

	// While the root keys are rotated: the coming generation until it is in use,
	// then the one before until nothing is under it and it is retired.
	RootNext       uint32 `cbor:"25,keyasint,omitempty"`
	RootNextCanary []byte `cbor:"26,keyasint,omitempty"`
	RootOld        uint32 `cbor:"27,keyasint,omitempty"`
	RootOldCanary  []byte `cbor:"28,keyasint,omitempty"`
	RootUsed       int64  `cbor:"29,keyasint,omitempty"` // since when RootGeneration is in use; 0: from the beginning

	// Lineage holds every founding that the state goes back to, its own last: one
	// more with each restore and recovery, which a person confirms, so no bound is
	// set to it. Empty if the cluster was founded before foundings had ids.
	Lineage []Founding `cbor:"30,keyasint,omitempty"`
}

// Consistency is what uses of keys are answered from. Management is linearizable
// in every mode.
type Consistency uint8

// The modes.
const (
	ConsistencyLease     Consistency = 0 // a node's own state under a serving lease: linearizable, no round trip
	ConsistencyStrict    Consistency = 1 // the state that a round trip proves: linearizable whatever clocks do
	ConsistencyAvailable Consistency = 2 // without a lease a state that may be old, within a bound
)

// String returns the name of the mode.
func (c Consistency) String() string {
	switch c {
	case ConsistencyLease:
		return "lease"
	case ConsistencyStrict:
		return "strict"
	case ConsistencyAvailable:
		return "available"
	default:
		return "unknown"
	}
}

// Clock is the replicated time and lives in a record of its own since nearly
// every command moves it.
type Clock struct {
	Now     int64 `cbor:"1,keyasint"` // never goes back
	Horizon int64 `cbor:"2,keyasint"` // a proposal first tried before it can no longer be told from a repeat; never goes back
}

// Domain is an account: the owner of projects and users.
type Domain struct {
	ID          string `cbor:"1,keyasint"` // 32 lower-case hex digits
	Name        string `cbor:"2,keyasint"` // unique in the cluster
	Enabled     bool   `cbor:"3,keyasint"`
	Created     int64  `cbor:"4,keyasint"`
	Fence       uint64 `cbor:"5,keyasint"`
	System      bool   `cbor:"6,keyasint,omitempty"` // the first account: only its users can run the cluster
	Description string `cbor:"7,keyasint,omitempty"`
}

// Project is what keys belong to; its name is the region's.
type Project struct {
	ID          string `cbor:"1,keyasint"` // 32 lower-case hex digits
	Name        string `cbor:"2,keyasint"` // unique in its domain
	DomainID    string `cbor:"3,keyasint"`
	Enabled     bool   `cbor:"4,keyasint"`
	KeyQuota    uint32 `cbor:"5,keyasint"` // keys that may exist at once, default master keys not counted
	Created     int64  `cbor:"6,keyasint"`
	Fence       uint64 `cbor:"7,keyasint"`
	Description string `cbor:"20,keyasint,omitempty"`
	// Grants and tags that one key may have; nil: what is usual.
	GrantQuota *uint32 `cbor:"8,keyasint,omitempty"`
	TagQuota   *uint32 `cbor:"9,keyasint,omitempty"`
	// Grants that all its keys may have together; nil: what is usual.
	TotalGrantQuota *uint32 `cbor:"10,keyasint,omitempty"`
	// LastSequence is the place of the newest key that was deleted while it was
	// the project's newest: no place is given out twice.
	LastSequence uint64 `cbor:"16,keyasint,omitempty"`
}

// User is somebody or something that can ask.
type User struct {
	ID           string        `cbor:"1,keyasint"` // 32 lower-case hex digits
	Name         string        `cbor:"2,keyasint"` // unique in its domain
	DomainID     string        `cbor:"3,keyasint"`
	Enabled      bool          `cbor:"4,keyasint"`
	PasswordHash string        `cbor:"5,keyasint"` // argon2id, PHC string form; empty: no password
	Roles        []RoleBinding `cbor:"6,keyasint"` // sorted by role, then project
	Created      int64         `cbor:"7,keyasint"`
	Fence        uint64        `cbor:"8,keyasint"`
	Groups       []string      `cbor:"9,keyasint,omitempty"`  // ids, sorted
	Description  string        `cbor:"10,keyasint,omitempty"` // for people
	Service      string        `cbor:"11,keyasint,omitempty"` // obs, evs …: the service that it acts for, which may make its default master key; empty: a person or a program

	// Epoch is the log index of the command that last ended what the user had
	// proved: a password change, a loss. A token of an older epoch is nobody's.
	Epoch       uint64 `cbor:"20,keyasint,omitempty"`
	LockedUntil int64  `cbor:"21,keyasint,omitempty"` // the password is refused until then
	// Unlocked is the log index of the command that last ended a lock, or gave
	// another password: what nodes have counted before it counts no more.
	Unlocked uint64 `cbor:"22,keyasint,omitempty"`
}

// RoleBinding has a policy hold for a user, or for all of a group, in one
// project or in all of its domain.
type RoleBinding struct {
	Role      string `cbor:"1,keyasint"` // name of a system policy (package policy) or id of a custom one
	ProjectID string `cbor:"2,keyasint"` // empty: the domain itself and every project of it
}

// AccessKey is the pair with which requests are signed (AK and SK).
type AccessKey struct {
	ID           string `cbor:"1,keyasint"` // the AK: 20 characters A-Z0-9
	UserID       string `cbor:"2,keyasint"`
	SealedSecret []byte `cbor:"3,keyasint"` // the SK, sealed under root-seal, bound to the AK
	Enabled      bool   `cbor:"4,keyasint"`
	Created      int64  `cbor:"5,keyasint"`
	Fence        uint64 `cbor:"6,keyasint"`
	Description  string `cbor:"7,keyasint,omitempty"`
}

// What the fields of a key may say. A further value is a further feature level.
const (
	SpecAES256             = "AES_256"
	UsageEncryptDecrypt    = "ENCRYPT_DECRYPT"
	UsageSignVerify        = "SIGN_VERIFY"
	UsageGenerateVerifyMAC = "GENERATE_VERIFY_MAC"
	UsageKeyAgreement      = "KEY_AGREEMENT"
	OriginKMS              = "kms"      // made in a module
	OriginExternal         = "external" // imported
	LevelHSM               = uint8(1)   // the numbers of hsm.Level
	LevelSoftware          = uint8(2)
)

// KeyState is the state of a key, with the numbers of the Huawei-style wire.
type KeyState uint8

// The states of a key.
const (
	Enabled         KeyState = 2
	Disabled        KeyState = 3
	PendingDeletion KeyState = 4
	PendingImport   KeyState = 5
)

// String returns the name of the state as people and traces spell it.
func (s KeyState) String() string {
	switch s {
	case Enabled:
		return "enabled"
	case Disabled:
		return "disabled"
	case PendingDeletion:
		return "pending-deletion"
	case PendingImport:
		return "pending-import"
	default:
		return "unknown"
	}
}

// Key is the metadata of a customer master key (CMK).
type Key struct {
	ID             string   `cbor:"1,keyasint"` // UUID, lower case, never reused
	ProjectID      string   `cbor:"2,keyasint"`
	DomainID       string   `cbor:"3,keyasint"` // the owner account
	Name           string   `cbor:"4,keyasint"` // key_alias: the editable name, unique in the project
	Description    string   `cbor:"5,keyasint"` // at most 8192 bytes
	Spec           string   `cbor:"6,keyasint"` // AES_256 …
	Usage          string   `cbor:"7,keyasint"` // ENCRYPT_DECRYPT …
	Origin         string   `cbor:"8,keyasint"` // kms or external
	Level          uint8    `cbor:"9,keyasint"` // hsm.Level
	State          KeyState `cbor:"10,keyasint"`
	PrimaryVersion uint32   `cbor:"11,keyasint"` // encrypts; 0 while there is no material
	Versions       uint32   `cbor:"12,keyasint"` // highest version number given out
	CreatorID      string   `cbor:"13,keyasint"` // user
	Created        int64    `cbor:"14,keyasint"`
	Sequence       uint64   `cbor:"15,keyasint"` // place in the project's list, grows with creation
	Fence          uint64   `cbor:"16,keyasint"`
	// Deletion is the instant at which the key goes for good; 0 unless the
	// state is PendingDeletion.
	Deletion     int64  `cbor:"17,keyasint,omitempty"`
	Protected    bool   `cbor:"18,keyasint,omitempty"` // its deletion cannot be scheduled
	Default      bool   `cbor:"19,keyasint,omitempty"` // the default master key of a service
	RotationDays uint32 `cbor:"20,keyasint,omitempty"` // days between two rotations; 0: rotation is off
	// RotationDue is when the next rotation is due. It stays while the key is
	// Disabled or PendingDeletion; only an Enabled key is rotated.
	RotationDue  int64  `cbor:"21,keyasint,omitempty"`
	LastRotation int64  `cbor:"22,keyasint,omitempty"`
	Rotations    uint32 `cbor:"23,keyasint,omitempty"` // how often it was rotated, by schedule or on demand
	Aliases      uint32 `cbor:"24,keyasint,omitempty"` // aliases that point at it
	Tags         []Tag  `cbor:"30,keyasint,omitempty"` // sorted by Key
	Grants       uint32 `cbor:"31,keyasint,omitempty"` // grants on it

	// Imported material. The fingerprint of the first import stays for ever.
	MaterialExpires int64        `cbor:"40,keyasint,omitempty"` // 0: never
	Fingerprint     []byte       `cbor:"41,keyasint,omitempty"`
	DisabledBefore  bool         `cbor:"42,keyasint,omitempty"` // it was Disabled when its material went
	ImportPairs     []ImportPair `cbor:"43,keyasint,omitempty"` // oldest first
}

// Alias is one further name of a key. It is never renamed, only pointed at
// another key. It shares the names of its project with the names of keys.
type Alias struct {
	ProjectID string `cbor:"1,keyasint"`
	Name      string `cbor:"2,keyasint"` // as it was given, with alias/ in front or without
	KeyID     string `cbor:"3,keyasint"`
	Created   int64  `cbor:"4,keyasint"`
	Updated   int64  `cbor:"5,keyasint"` // when it was last pointed somewhere
	Fence     uint64 `cbor:"6,keyasint"`
}

// AliasPrefix may stand in front of a name where a key is referred to, and of
// an alias where it is made: alias/NAME and NAME are one name.
const AliasPrefix = "alias/"

// Tombstone is what stays of a key that was deleted. It holds no material.
type Tombstone struct {
	KeyID     string `cbor:"1,keyasint"`
	ProjectID string `cbor:"2,keyasint"`
	DomainID  string `cbor:"3,keyasint"`
	Name      string `cbor:"4,keyasint"`
	Spec      string `cbor:"5,keyasint"`
	Created   int64  `cbor:"6,keyasint"`
	Deleted   int64  `cbor:"7,keyasint"`
	// Index is that of the entry that deleted it, or of a later one that carried
	// its material once more; every node erases what lies before it, and it.
	Index uint64 `cbor:"8,keyasint"`
	// Holders are the nodes that may hold the wrapped material in their files:
	// all that were admitted when the key was deleted, or at Index.
	Holders []string `cbor:"9,keyasint"`
	// Blobs name the wrapped material, so that what is left of it in a file can be recognised.
	Blobs []BlobPrint `cbor:"10,keyasint"`
	Fence uint64      `cbor:"11,keyasint"`
}

// BlobPrint recognises the wrapped material of one version.
type BlobPrint struct {
	Number         uint32   `cbor:"1,keyasint"`
	RootGeneration uint32   `cbor:"2,keyasint"` // destroying that root set erases every copy, wherever it is
	Size           uint32   `cbor:"3,keyasint"`
	Hash           [32]byte `cbor:"4,keyasint"` // SHA-256 of the blob
	// FirstGeneration is that of [Version]: older copies, in which the material is
	// wrapped otherwise, are under this generation of the roots or one that came
	// between. No hash of those is kept: it would be 45 bytes in each of a million
	// versions, against 3.
	FirstGeneration uint32 `cbor:"5,keyasint,omitempty"`
}

// RootGenerations returns all generations of the roots that copies of the
// material are under, in their order.
func (p BlobPrint) RootGenerations() (all []uint32) {
	first := p.FirstGeneration
	if first == 0 {
		first = p.RootGeneration
	}
	for g := first; g <= p.RootGeneration; g++ {
		all = append(all, g)
	}
	return all
}

// TraceLog is what the cluster remembers of a node's traces, the oldest first.
type TraceLog struct {
	NodeID      string       `cbor:"1,keyasint"`
	Checkpoints []Checkpoint `cbor:"2,keyasint"`
}

// Checkpoint is a node's signed word on how far its trace log goes and what it
// holds.
type Checkpoint struct {
	From uint64 `cbor:"1,keyasint"` // first sequence that the tree covers
	Size uint64 `cbor:"2,keyasint"` // lines that it covers
	Key  string `cbor:"3,keyasint"` // verifier key of the note
	Note []byte `cbor:"4,keyasint"` // the signed note
	Time int64  `cbor:"5,keyasint"` // replicated time of its publication
}

// Erasure says how far a node has erased its files.
type Erasure struct {
	NodeID  string `cbor:"1,keyasint"`
	Through uint64 `cbor:"2,keyasint"` // of every key deleted up to this index the node's files hold nothing any more
	At      int64  `cbor:"3,keyasint"`
}

// Use is when a version was last used, as the nodes gather it: at most some
// minutes behind. It is a record of its own so that a use leaves the version's
// record, and what was made from it, as it is.
type Use struct {
	KeyID  string `cbor:"1,keyasint"`
	Number uint32 `cbor:"2,keyasint"`
	Last   int64  `cbor:"3,keyasint"`
}

// Version is one generation of a key's material.
type Version struct {
	KeyID          string `cbor:"1,keyasint"`
	Number         uint32 `cbor:"2,keyasint"` // from 1
	RootGeneration uint32 `cbor:"3,keyasint"`
	Blob           []byte `cbor:"4,keyasint"` // wrapped material (AES-KWP)
	PublicKey      []byte `cbor:"5,keyasint"` // DER SubjectPublicKeyInfo; asymmetric keys only
	MAC            []byte `cbor:"6,keyasint"` // module-made record MAC over hsm.Binding
	Created        int64  `cbor:"7,keyasint"`
	Fence          uint64 `cbor:"8,keyasint"`
	// FirstGeneration is that of the roots which it was made under, if it was put
	// under others since, one generation after the other; 0: RootGeneration.
	FirstGeneration uint32 `cbor:"9,keyasint,omitempty"`
}

// JoinToken admits one node to replication, once.
type JoinToken struct {
	ID        string `cbor:"1,keyasint"` // lower-case hex SHA-256 of the token's secret
	Expires   int64  `cbor:"2,keyasint"`
	UsedBy    string `cbor:"3,keyasint"` // node id; empty: unused
	UsedByKey []byte `cbor:"4,keyasint"` // SHA-256 of that node's SubjectPublicKeyInfo
	Created   int64  `cbor:"5,keyasint"`
	Fence     uint64 `cbor:"6,keyasint"`
}

// UsedByAnother says whether the token was spent, and not by the node of that id
// and key (SHA-256 of its SubjectPublicKeyInfo), which may repeat itself.
func (t *JoinToken) UsedByAnother(nodeID string, key []byte) bool {
	return t.UsedBy != "" && (t.UsedBy != nodeID || !bytes.Equal(t.UsedByKey, key))
}

// Node is a machine that has been admitted. Whether it is a member (voter or
// standby) is for Raft's configuration to say, not for this record.
type Node struct {
	ID             string `cbor:"1,keyasint"`
	TLSKey         []byte `cbor:"2,keyasint"` // SHA-256 of the SubjectPublicKeyInfo of its certificate
	ClusterAddress string `cbor:"3,keyasint"` // host:port
	APIURL         string `cbor:"4,keyasint"`
	GossipAddress  string `cbor:"5,keyasint"`
	TransportKey   []byte `cbor:"6,keyasint"`            // SHA-256 of its module's transport key; the fingerprint an operator compares
	RootsApproved  uint32 `cbor:"7,keyasint"`            // root generation approved for it; 0: none
	Standby        bool   `cbor:"10,keyasint,omitempty"` // it is to stay without a vote
	Version        string `cbor:"14,keyasint,omitempty"` // of its program, as it last said
	LowestLevel    uint32 `cbor:"15,keyasint,omitempty"` // feature level at which its program can still run
	HighestLevel   uint32 `cbor:"16,keyasint,omitempty"` // newest that its program knows
	Created        int64  `cbor:"8,keyasint"`
	Fence          uint64 `cbor:"9,keyasint"`
	RootsHeld      uint32 `cbor:"25,keyasint,omitempty"` // newest root generation that its module has proved to hold, in a rotation

	// What it last said while the CA was rotated; SHA-256 of the certificates of CAs.
	CAsTrusted [][]byte `cbor:"17,keyasint,omitempty"`
	CAIssuer   []byte   `cbor:"18,keyasint,omitempty"` // of its own certificate
}

// MaxCAs is how many CAs of the cluster are trusted at a time.
const MaxCAs = 2

// TrustsCA tells whether the node said that it trusts a CA.
func (n *Node) TrustsCA(fingerprint []byte) bool {
	return slices.ContainsFunc(n.CAsTrusted, func(trusted []byte) bool { return bytes.Equal(trusted, fingerprint) })
}

// TakesRoots tells whether something may be under that generation of the roots:
// the one in use, or the one before while a rotation is under way.
func (c *Cluster) TakesRoots(generation uint32) bool {
	return generation != 0 && (generation == c.RootGeneration || generation == c.RootOld)
}

// Reply is the answer that a proposal got, kept so that a repeat of it gets
// the same one. It leaves the state when its First falls behind the horizon.
type Reply struct {
	ProposalID string   `cbor:"1,keyasint"`
	Asked      [32]byte `cbor:"2,keyasint"` // SHA-256 over what was asked and by whom; see package fsm
	First      int64    `cbor:"3,keyasint"` // replicated time of the proposal's first attempt
	Index      uint64   `cbor:"4,keyasint"` // log index of the entry that was answered
	Result     []byte   `cbor:"5,keyasint"` // encoded fsm.Result; holds no secret
}
