package wire

// NodesReply is the answer to GET /nodes: where the API of each node is.
type NodesReply struct {
	Nodes []NodeAddress `json:"nodes"`
}

// NodeAddress is one node as clients know it.
type NodeAddress struct {
	ID  string `json:"id"`
	URL string `json:"url"` // https, without a path
}
