package wire

// AdminPathConsistency of the admin socket: GET → Consistency; POST Consistency →
// Consistency, once every node follows it.
const AdminPathConsistency = "/v1/cluster/consistency"

// Consistency says what uses of keys are answered from, in the whole cluster.
type Consistency struct {
	// Mode is lease (linearizable, no round trip), strict (linearizable, a round
	// trip for each use) or available (a node without contact answers from a
	// state that may be old).
	Mode string `json:"mode"`
	// MaxAgeMillis bounds, with available, how old: 5000 to 60000; 0: 30000.
	MaxAgeMillis int64 `json:"max_age_ms"`
}
