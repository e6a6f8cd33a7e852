package wire

// AdminPathCA of the admin socket: GET → CAStatus; POST CARequest → CAStatus,
// once the step is taken and all nodes were asked to follow.
const AdminPathCA = "/v1/cluster/ca"

// CARequest takes a step of a rotation of the cluster's own CA. A step that was
// taken already is not taken again: nodes that were behind are asked once more.
type CARequest struct {
	Step string `json:"step"` // rotate, use, finish or abort
}

// Stages of a rotation of the CA.
const (
	CASettled = "settled" // one CA, and no rotation
	CAStaged  = "staged"  // all nodes are to trust the new one as well
	CAInUse   = "in-use"  // the new one signs, and nodes renew; both are trusted
)

// CAStatus is how far a rotation of the cluster's CA has come.
type CAStatus struct {
	Stage string     `json:"stage"`
	CAs   []CAInfo   `json:"cas"` // all that are trusted; the first one signs
	Nodes []CAOfNode `json:"nodes"`
}

// CAInfo is one CA of the cluster.
type CAInfo struct {
	Fingerprint string `json:"fingerprint"` // SHA-256 of the certificate, hex
	NotAfter    string `json:"not_after"`   // RFC 3339
	Role        string `json:"role"`        // signs, comes or goes
	Certificate string `json:"certificate"` // PEM
}

// CAOfNode is what a node does about the CAs.
type CAOfNode struct {
	NodeID  string `json:"node_id"`
	Trusts  bool   `json:"trusts"`            // all CAs of the cluster
	Renewed bool   `json:"renewed"`           // its certificate is of the CA that signs
	Problem string `json:"problem,omitempty"` // why it does not follow
}

// Behind says whether the node has yet to do what the rotation is at.
func (n CAOfNode) Behind() bool { return !n.Trusts || !n.Renewed }
