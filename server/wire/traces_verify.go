package wire

import "time"

// Paths of the admin socket about trace logs.
const (
	AdminPathVerifyTraces = "/v1/audit/verify" // POST VerifyTracesRequest → VerifyTracesReply
	AdminPathTraceKeys    = "/v1/audit/keys"   // GET → TraceKeysReply
)

// VerifyTracesRequest has nodes check their trace logs.
type VerifyTracesRequest struct {
	NodeID string    `json:"node_id,omitempty"` // empty: all
	Since  time.Time `json:"since,omitzero"`    // zero: whole logs
}

// VerifyTracesReply is what they found.
type VerifyTracesReply struct {
	Sound bool          `json:"sound"` // every log was read, and has no fault
	Nodes []TraceReport `json:"nodes"`
	// Stale says in words that the node that was asked may not know of all nodes
	// and checkpoints; empty: it does.
	Stale string `json:"stale,omitempty"`
}

// TraceReport is what was found in one log.
type TraceReport struct {
	NodeID      string `json:"node_id"`
	Segments    int    `json:"segments"`
	Records     uint64 `json:"records"`
	First       uint64 `json:"first"` // sequence of the first line that was read
	Last        uint64 `json:"last"`
	Hash        string `json:"hash"`              // of the last line
	Checkpoints int    `json:"checkpoints"`       // that the log fits
	Passed      int    `json:"passed"`            // that it could not be compared with: what they cover is not kept any more, or was not read
	Earlier     int    `json:"earlier,omitempty"` // that are of an earlier log of a node of that name
	Covered     uint64 `json:"covered"`           // up to which sequence checkpoints prove it
	Faults      int    `json:"faults"`
	Fault       string `json:"fault,omitempty"`   // the first one
	Problem     string `json:"problem,omitempty"` // why the log was not read
}

// TraceKeysReply are the public keys with which checkpoints of trace logs are
// verified where no node is asked.
type TraceKeysReply struct {
	Keys  []TraceKey `json:"keys"`
	Stale string     `json:"stale,omitempty"` // as in [VerifyTracesReply]
}

// TraceKey is a public key of a node's trace log.
type TraceKey struct {
	NodeID string    `json:"node_id"`
	Key    string    `json:"key"`
	Since  time.Time `json:"since"` // the oldest checkpoint that is known to be signed with it
}
