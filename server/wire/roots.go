package wire

// AdminPathVerifyRoots: POST VerifyRootsRequest → VerifyRootsReply.
const AdminPathVerifyRoots = "/v1/root/verify"

// VerifyRootsRequest has one node prove that its module holds the cluster's
// root keys and opens what is under them. All of it takes as long as the device
// needs for that many keys, so it is asked for in steps of some seconds.
type VerifyRootsRequest struct {
	NodeID string `json:"node_id,omitempty"` // empty: the node of this socket
	After  string `json:"after,omitempty"`   // Next of the reply before; empty: from the start
	Every  int    `json:"every,omitempty"`   // look at one record of so many, drawn by lot; 0 and 1: at each
}

// VerifyRootsReply is what a node found in one step.
type VerifyRootsReply struct {
	NodeID         string           `json:"node_id"`
	RootGeneration uint32           `json:"root_generation"`
	Index          uint64           `json:"index"`             // of the newest entry in the state that was looked at
	Holds          bool             `json:"holds"`             // the module's root keys open the canary of the state
	Problem        string           `json:"problem,omitempty"` // why they do not, or why nothing can be said
	Total          int              `json:"total"`             // records there are
	Passed         int              `json:"passed"`            // records that this step came by
	Opened         int              `json:"opened"`            // things under the root keys that this step opened
	Failures       []RootKeyFailure `json:"failures,omitempty"`
	Next           string           `json:"next,omitempty"` // where the next step begins; empty: this was the last one
}

// RootKeyFailure is something that does not open under the root keys.
type RootKeyFailure struct {
	What    string `json:"what"`    // version, import, fingerprint, access-key, second-factor, ca-key, gossip-key, trace-key
	ID      string `json:"id"`      // of the record; of a version with its number behind a slash
	Problem string `json:"problem"` // what the module says
}

// AdminPathBackUpRoots: POST BackUpRootsRequest → BackUpRootsReply.
const AdminPathBackUpRoots = "/v1/root/backup"

// BackUpRootsRequest has the node's module wrap its root keys under a recovery
// key, which is split into shares.
type BackUpRootsRequest struct {
	Threshold  int    `json:"threshold"`   // how many shares it takes, 2 or more
	Shares     int    `json:"shares"`      // how many there are, 50 at most
	OfficerPIN string `json:"officer_pin"` // pkcs11 modules; never stored
}

// BackUpRootsReply is a backup of root keys with its shares, which are told
// this once and kept nowhere.
type BackUpRootsReply struct {
	ClusterID      string   `json:"cluster_id"`
	RootGeneration uint32   `json:"root_generation"`
	Set            string   `json:"set"` // names the shares that belong to the file
	Threshold      int      `json:"threshold"`
	File           []byte   `json:"file"` // of no use without the shares
	Shares         []string `json:"shares"`
}

// AdminPathRotateRoots: POST RotateRootsRequest → RotateRootsReply.
const AdminPathRotateRoots = "/v1/root/rotate"

// What a rotation of the root keys is asked to do.
const (
	RootsBegin  = "begin"  // make a new generation, bring it to all nodes, and have it used; goes on from where it was
	RootsRewrap = "rewrap" // a few seconds of putting things under it
	RootsRetire = "retire" // have every module destroy the old one
	RootsAbort  = "abort"  // give up the one that was made and that nothing uses yet
	RootsStatus = "status"
)

// RotateRootsRequest takes a step of a rotation of the root keys.
type RotateRootsRequest struct {
	Action     string `json:"action"`
	OfficerPIN string `json:"officer_pin,omitempty"` // pkcs11 modules; never stored
	EndTokens  bool   `json:"end_tokens,omitempty"`  // with retire: end the tokens of users that are under the old generation
}

// RotateRootsReply says how far a rotation is.
type RotateRootsReply struct {
	Generation uint32           `json:"root_generation"`    // in use
	Next       uint32           `json:"next,omitempty"`     // staged
	Old        uint32           `json:"old,omitempty"`      // to be retired
	Since      string           `json:"since,omitempty"`    // when the one in use came into use
	Waiting    []string         `json:"waiting,omitempty"`  // nodes that do not hold the staged one yet
	Records    int              `json:"records"`            // that may hold something under root keys
	Remaining  int              `json:"remaining"`          // things under the old one
	Imports    int              `json:"imports"`            // begun under the old one; they end by themselves within a day
	Blocked    int              `json:"blocked,omitempty"`  // things for which this module wants the security officer's leave
	Failures   []RootKeyFailure `json:"failures,omitempty"` // what does not open under the old one
}

// AdminPathCopyRoots: POST CopyRootsRequest → CopyRootsReply.
const AdminPathCopyRoots = "/v1/root/copy"

// CopyRootsRequest has a node with two HSMs bring the root keys from the one that
// holds them to the other.
type CopyRootsRequest struct {
	OfficerPIN string `json:"officer_pin"` // of the token that holds them; never stored
}

// CopyRootsReply says what was brought; nothing where both held all of them.
type CopyRootsReply struct {
	NodeID string        `json:"node_id"`
	Copied []CopiedRoots `json:"copied"`
}

// CopiedRoots is one generation of root keys that an HSM got.
type CopiedRoots struct {
	HSM        string `json:"hsm"` // first or second
	Generation uint32 `json:"root_generation"`
}
