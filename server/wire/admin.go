package wire

import "time"

// The local admin socket: HTTP with JSON over a Unix socket in the node's data
// directory, readable by the owner of the process alone. Who can open it is
// the node's operator. Errors are an [AdminError] with status 4xx or 5xx: 503 is
// that the node lacks a leader, its state, its module or another node for now, and
// that what is asked again is done or goes on, and 504 that a change may have been
// made or not.
const (
	AdminPathInit         = "/v1/cluster/init"           // POST InitRequest → InitReply
	AdminPathJoinToken    = "/v1/cluster/join-token"     // POST JoinTokenRequest → JoinTokenReply
	AdminPathJoin         = "/v1/cluster/join"           // POST JoinRequest → {}
	AdminPathStatus       = "/v1/cluster/status"         // GET → StatusReply
	AdminPathApproveRoots = "/v1/root/approve"           // POST ApproveRootsRequest → {}
	AdminPathDoctor       = "/v1/hsm/doctor"             // POST {} → the report of hsm/doctor
	AdminPathRemove       = "/v1/cluster/remove"         // POST NodeRequest → {}; answered once the node is out
	AdminPathPromote      = "/v1/cluster/promote"        // POST NodeRequest → {}; answered once it has a vote
	AdminPathDemote       = "/v1/cluster/demote"         // POST NodeRequest → {}; answered once it has none
	AdminPathTransfer     = "/v1/cluster/transfer"       // POST NodeRequest → TransferReply; an empty id: to whom the leader chooses
	AdminPathBackup       = "/v1/cluster/backup"         // GET → the backup's bytes
	AdminPathCheckBackup  = "/v1/cluster/backup/check"   // POST the backup's bytes → BackupReply
	AdminPathRestore      = "/v1/cluster/backup/restore" // POST the backup's bytes, RestoreQuery in the URL → RestoreReply
)

// AdminError is the body of every refusal on the admin socket.
type AdminError struct {
	Error string `json:"error"` // one sentence: what was refused, why, what to do
}

// InitRequest starts a new cluster on a node without one.
type InitRequest struct {
	Region     string `json:"region"`      // names the first project; [a-z0-9-]{1,64}
	DomainName string `json:"domain_name"` // of the first account
	UserName   string `json:"user_name"`   // of the first administrator
}

// InitReply carries the first administrator's credentials. They are shown
// this once; the cluster keeps the password's hash and the sealed secret key.
type InitReply struct {
	ClusterID     string `json:"cluster_id"`
	Region        string `json:"region"`
	DomainID      string `json:"domain_id"`
	DomainName    string `json:"domain_name"`
	ProjectID     string `json:"project_id"`
	ProjectName   string `json:"project_name"` // equals Region
	UserID        string `json:"user_id"`
	UserName      string `json:"user_name"`
	Password      string `json:"password"`
	AccessKey     string `json:"access_key"`
	SecretKey     string `json:"secret_key"`
	AWSAccountID  string `json:"aws_account_id"` // 12 digits, derived from the domain id
	CACertificate string `json:"ca_certificate"` // PEM
}

// JoinTokenRequest asks for a token that admits one node.
type JoinTokenRequest struct {
	LifetimeSeconds int `json:"lifetime_seconds"` // 60 to 86400; 0: 3600
}

// JoinTokenReply carries the token, which is shown this once.
type JoinTokenReply struct {
	Token   string `json:"token"`
	Expires string `json:"expires"` // RFC 3339
}

// JoinRequest has a node without a cluster join one.
type JoinRequest struct {
	Token string `json:"token"`
}

// StatusReply is what a node knows of itself and its cluster.
type StatusReply struct {
	NodeID      string       `json:"node_id"`
	ClusterID   string       `json:"cluster_id"` // empty: neither initialised nor joined yet
	Version     string       `json:"version"`
	Phase       string       `json:"phase"` // empty | joining | waiting-for-roots | serving | draining
	Ready       bool         `json:"ready"`
	NotReady    string       `json:"not_ready,omitempty"` // why it is not, once it is a member
	Module      string       `json:"module"`              // soft or pkcs11
	Modules     []ModuleInfo `json:"modules,omitempty"`   // of a node with two HSMs, the preferred one first
	Roots       bool         `json:"roots"`               // its module holds the root set
	Fingerprint string       `json:"fingerprint"`         // of its transport key, while it waits for the roots
	Leader      string       `json:"leader"`              // node id, empty when unknown
	Term        uint64       `json:"term"`
	Commit      uint64       `json:"commit"`
	Applied     uint64       `json:"applied"`
	StateHash   string       `json:"state_hash"` // at Applied
	Members     []MemberInfo `json:"members"`
}

// ModuleInfo is one HSM of a node that has two.
type ModuleInfo struct {
	Name    string `json:"name"`   // first or second
	Serves  bool   `json:"serves"` // or could at once
	Problem string `json:"problem,omitempty"`
}

// MemberInfo is one admitted node as seen by the node that answers, or one that
// is to be removed and is in Raft's configuration still.
type MemberInfo struct {
	ID             string `json:"id"`
	Role           string `json:"role"`          // voter, standby, or admitted (not in Raft's configuration yet)
	Due            string `json:"due,omitempty"` // what was decided about it and is not carried out yet; the leader also says why
	ClusterAddress string `json:"cluster_address"`
	APIURL         string `json:"api_url"`
	Alive          bool   `json:"alive"` // gossip's opinion
	RootsApproved  bool   `json:"roots_approved"`
	Fingerprint    string `json:"fingerprint"` // of its transport key, for comparison
	// ClockAheadMillis is how far its clock is ahead of replicated time, by what it
	// told the leader; nil: not known.
	ClockAheadMillis *int64 `json:"clock_ahead_ms,omitempty"`
}

// ApproveRootsRequest lets the root set go to a node whose fingerprint the
// operator has compared with what that node's own console shows.
type ApproveRootsRequest struct {
	NodeID      string `json:"node_id"`
	Fingerprint string `json:"fingerprint"`
	OfficerPIN  string `json:"officer_pin"` // pkcs11 modules; never stored
}

// NodeRequest names a node of the cluster.
type NodeRequest struct {
	NodeID string `json:"node_id"`
}

// TransferReply says who leads now.
type TransferReply struct {
	Leader string `json:"leader"`
}

// AdminPathVerifyErasure: POST VerifyErasureRequest → VerifyErasureReply.
const AdminPathVerifyErasure = "/v1/key/verify-erasure"

// VerifyErasureRequest asks where a deleted key can still be recovered, or what
// was discarded of one that is there: imported material, wrapping pairs.
type VerifyErasureRequest struct {
	KeyID string `json:"key_id"`
}

// VerifyErasureReply says what every node that may hold the key has found in
// its files. What is not among the nodes' files is for the operator to know:
// copies of disks and backups of that time, as long as a root set of one of
// the generations exists.
type VerifyErasureReply struct {
	KeyID           string        `json:"key_id"`
	Name            string        `json:"name"`
	Created         time.Time     `json:"created"`
	Deleted         time.Time     `json:"deleted"`        // when the key went, or the last of what was discarded
	Live            bool          `json:"live,omitempty"` // the key is there: this is about what was discarded of it
	Blobs           int           `json:"blobs"`          // pieces of wrapped material that are looked for
	Erased          bool          `json:"erased"`         // every node has reported, and nothing was found
	RootGenerations []uint32      `json:"root_generations"`
	Nodes           []ErasureNode `json:"nodes"`
}

// ErasureNode is one node of a VerifyErasureReply.
type ErasureNode struct {
	ID       string   `json:"id"`
	Reported bool     `json:"reported"`          // that its files are erased
	Files    []string `json:"files,omitempty"`   // in which the wrapped material was found
	Scanned  int64    `json:"scanned"`           // bytes
	Problem  string   `json:"problem,omitempty"` // why it may still be recoverable there
}

// BackupReply is what a backup is, after all of it was verified.
type BackupReply struct {
	ClusterID      string `json:"cluster_id"`
	Generation     uint32 `json:"generation"`
	LineageID      string `json:"lineage_id,omitempty"` // of the founding that the generation began with
	RootGeneration uint32 `json:"root_generation"`      // of the root keys that open it
	Index          uint64 `json:"index"`
	StateHash      string `json:"state_hash"`
	NodeID         string `json:"node_id"` // that wrote it
	Version        string `json:"version"`
	Created        string `json:"created"` // RFC 3339
	Keys           int    `json:"keys"`
	// Older says how the backup is older than the cluster of the node that has
	// verified it, if it is of an earlier generation.
	Older string `json:"older,omitempty"`
}

// The members of a restore's URL query.
const (
	RestoreConfirm     = "confirm"      // the cluster's id: do it; absent: only say what it would do
	RestoreKeepEnabled = "keep_enabled" // "true": keys stay Enabled
	RestoreAgainst     = "against"      // data directory of an old node, on the node's machine
)

// RestoreReply says what a restore has done, or would do.
type RestoreReply struct {
	Backup BackupReply `json:"backup"`
	Done   bool        `json:"done"`
	// Undone is an fsm.Undone: what is lost, and what is revoked once more.
	Undone any `json:"undone"`
}
