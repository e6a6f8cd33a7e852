package wire

// AdminPathRotateGossip of the admin socket: POST {} → GossipRotation, once the
// gossip key is another one.
const AdminPathRotateGossip = "/v1/cluster/gossip-key/rotate"

// GossipRotation is the answer to a rotation of the gossip key.
type GossipRotation struct {
	// Resumed says that a rotation which had been begun was ended, rather than a new one made.
	Resumed bool `json:"resumed,omitempty"`
	// Behind are the nodes that have not taken the new key yet. They do so when
	// they are back; until then nobody finds them by gossip.
	Behind []GossipBehind `json:"behind,omitempty"`
}

// GossipBehind is a node that has not taken the new gossip key.
type GossipBehind struct {
	NodeID  string `json:"node_id"`
	Problem string `json:"problem"` // why, in one sentence
}
