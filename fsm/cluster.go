package fsm

import (
	"bytes"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// bootstrap makes a cluster of an empty state: its record, its first account
// with project, administrator and access key, and its first node, which made
// the roots and so needs nobody's approval for them. It is not fenced: before
// it nobody was allowed anything.
func bootstrap(c *call, b command.Bootstrap) (any, *Refusal) {
	if c.Cluster() != nil {
		return nil, refuse(CodeAlreadyBootstrapped, "the cluster has been bootstrapped")
	}
	if refusal := checkBootstrap(b, c.highest); refusal != nil {
		return nil, refusal
	}
	now := c.Now()
	cluster := state.Cluster{
		ID:             b.ClusterID,
		FeatureLevel:   b.FeatureLevel,
		Generation:     1,
		Region:         b.Region,
		ModuleKind:     b.ModuleKind,
		RootGeneration: b.RootGeneration,
		Canary:         b.Canary,
		CACertificates: [][]byte{b.CACertificate},
		SealedCAKey:    b.SealedCAKey,
		SealedGossip:   b.SealedGossip,
		Created:        now,
	}
	if b.LineageID != "" {
		cluster.Lineage = []state.Founding{{ID: b.LineageID, Generation: cluster.Generation}}
	}
	c.PutCluster(&cluster)
	c.PutDomain(&state.Domain{ID: b.DomainID, Name: b.DomainName, Enabled: true, Created: now, System: true})
	c.PutProject(&state.Project{
		ID: b.ProjectID, Name: b.Region, DomainID: b.DomainID, Enabled: true,
		KeyQuota: state.DefaultKeyQuota, Created: now,
	})
	c.PutUser(&state.User{
		ID: b.UserID, Name: b.UserName, DomainID: b.DomainID, Enabled: true, PasswordHash: b.PasswordHash,
		Roles: firstRoles(), Created: now,
	})
	c.PutAccessKey(&state.AccessKey{
		ID: b.AccessKeyID, UserID: b.UserID, SealedSecret: b.SealedSecret, Enabled: true, Created: now,
	})
	node := newNode(b.Node, now)
	node.RootsApproved, node.Standby = b.RootGeneration, false // somebody has to vote
	c.PutNode(node)
	return nodeResult(node), nil
}

// firstRoles are the first administrator's: all of them, to be handed on to
// others and taken away.
func firstRoles() []state.RoleBinding {
	return []state.RoleBinding{
		{Role: policy.RoleAuditor},
		{Role: policy.RoleClusterOperator},
		{Role: policy.RoleKMSAdministrator},
		{Role: policy.RoleSecurityAdministrator},
	}
}

func checkBootstrap(b command.Bootstrap, highest uint32) *Refusal {
	for _, field := range [...]struct {
		ok   bool
		what string
	}{
		{isUUID(b.ClusterID), "the cluster id is not a UUID in lower case"},
		{b.FeatureLevel >= 1 && b.FeatureLevel <= highest, "no such feature level"},
		{isLabel(b.Region), "the region is not a name"},
		{isLabel(b.ModuleKind), "the module kind is not a name"},
		{b.RootGeneration >= 1, "there is no root generation 0"},
		{b.LineageID == "" || isHex(b.LineageID, 32), "the lineage id is not 32 digits of lower-case hex"},
		{isBlob(b.Canary) && isBlob(b.CACertificate) && isBlob(b.SealedCAKey) && isBlob(b.SealedGossip) && isBlob(b.SealedSecret),
			"the canary, the certificate or a sealed secret is missing or too large"},
		{isHex(b.DomainID, 32) && isHex(b.ProjectID, 32) && isHex(b.UserID, 32), "an id is not 32 digits of lower-case hex"},
		{isLabel(b.DomainName) && isLabel(b.UserName), "the account's or the user's name is not a name"},
		{len(b.PasswordHash) <= maxPasswordHash, "the password hash is too large"},
		{isAccessKeyID(b.AccessKeyID), "the access key is not 20 characters of A-Z and 0-9"},
	} {
		if !field.ok {
			return refuse(CodeInvalid, "%s", field.what)
		}
	}
	if b.Node.ModuleKind != b.ModuleKind {
		return refuse(CodeModuleKind, "the node's module is of another kind than the cluster's")
	}
	// The founder's module made the roots itself, so it needs no transport key.
	if len(b.Node.TransportKey) == 0 {
		b.Node.TransportKey = make([]byte, fingerprintSize)
	}
	return checkNode(b.Node)
}

// createJoinToken registers a token by the hash of its secret. It is not
// fenced: one more node may ask to be admitted.
func createJoinToken(c *call, b command.CreateJoinToken) (any, *Refusal) {
	switch {
	case !isHex(b.ID, 64):
		return nil, refuse(CodeInvalid, "the token id is not a SHA-256 in lower-case hex")
	case b.Expires <= c.Now():
		return nil, refuse(CodeInvalid, "the token would expire before it exists")
	}
	if _, taken := c.JoinToken(b.ID); taken {
		return nil, refuse(CodeAlreadyExists, "the token exists")
	}
	for _, old := range c.JoinTokens() { // no use to anybody any more
		if old.Expires <= c.Now() {
			c.DeleteJoinToken(old)
		}
	}
	c.PutJoinToken(&state.JoinToken{ID: b.ID, Expires: b.Expires, Created: c.Now()})
	return TokenResult{Expires: b.Expires}, nil
}

// admitNode spends a join token and makes, or refreshes, the record of a node.
// A node that repeats it gets the same answer. A module with another transport
// key is another module: what was approved for the old one does not hold.
func admitNode(c *call, b command.AdmitNode) (any, *Refusal) {
	if refusal := checkNode(b.Node); refusal != nil {
		return nil, refusal
	}
	token, refusal := checkToken(c, b)
	if refusal != nil {
		return nil, refusal
	}
	if b.Node.ModuleKind != c.Cluster().ModuleKind {
		return nil, refuse(CodeModuleKind, "the cluster's modules are of the kind %s", c.Cluster().ModuleKind)
	}
	if refusal := checkProgram(b.Node.ID, b.Node.Program, c.Cluster().FeatureLevel); refusal != nil {
		return nil, refusal
	}
	for _, other := range c.Nodes() {
		if (other.ID == b.Node.ID) != bytes.Equal(other.TLSKey, b.Node.TLSKey) {
			return nil, refuse(CodeAlreadyExists, "the node id or the TLS key is another node's: give this one another id and an empty data directory, or take that one out first (`kmsctl cluster remove`)")
		}
	}

	node := newNode(b.Node, c.Now())
	node.Fence = c.index
	if old, known := c.Node(b.Node.ID); known {
		node.Created, node.Standby = old.Created, old.Standby
		if bytes.Equal(old.TransportKey, node.TransportKey) {
			node.RootsApproved, node.RootsHeld = old.RootsApproved, old.RootsHeld
		}
	} else if erased, had := c.Erasure(b.Node.ID); had {
		// It comes back with an empty directory, and may be given what it had erased.
		c.DeleteErasure(erased)
	}
	c.PutNode(node)
	spent := *token
	spent.UsedBy, spent.UsedByKey, spent.Fence = node.ID, node.TLSKey, c.index
	c.PutJoinToken(&spent)
	return nodeResult(node), nil
}

// checkToken returns the token if that node may spend it, or has.
func checkToken(c *call, b command.AdmitNode) (*state.JoinToken, *Refusal) {
	token, known := c.JoinToken(b.TokenID)
	switch {
	case !known:
		return nil, refuse(CodeTokenUnknown, "there is no such join token: `kmsctl cluster join-token` makes one on a member")
	case token.UsedByAnother(b.Node.ID, b.Node.TLSKey):
		return nil, refuse(CodeTokenUsed, "the join token was used by another node, and admits one: `kmsctl cluster join-token` makes another on a member")
	case token.Expires <= c.Now():
		return nil, refuse(CodeTokenExpired, "the join token has expired: `kmsctl cluster join-token` makes another on a member")
	default:
		return token, nil
	}
}

// approveRoots lets the root set go to a node whose transport key the operator
// has compared.
func approveRoots(c *call, b command.ApproveRoots) (any, *Refusal) {
	old, known := c.Node(b.NodeID)
	switch {
	case !known:
		return nil, refuse(CodeNotFound, "there is no such node")
	case !bytes.Equal(old.TransportKey, b.TransportKey):
		return nil, refuse(CodeInvalid, "the node's transport key has another fingerprint")
	case b.RootGeneration != c.Cluster().RootGeneration:
		return nil, refuse(CodeInvalid, "the cluster's root generation is %d", c.Cluster().RootGeneration)
	}
	node := *old
	node.RootsApproved, node.Fence = b.RootGeneration, c.index
	c.PutNode(&node)
	return nodeResult(&node), nil
}

func checkNode(n command.NodeInfo) *Refusal {
	switch {
	case !isLabel(n.ID):
		return refuse(CodeInvalid, "the node id is not a name")
	case len(n.TLSKey) != fingerprintSize || len(n.TransportKey) != fingerprintSize:
		return refuse(CodeInvalid, "a fingerprint of the node is not a SHA-256")
	case !isAddress(n.ClusterAddress) || !isAddress(n.APIURL) || !isAddress(n.GossipAddress):
		return refuse(CodeInvalid, "an address of the node is missing or malformed")
	default:
		return nil
	}
}

func newNode(n command.NodeInfo, now int64) *state.Node {
	node := &state.Node{
		ID: n.ID, TLSKey: n.TLSKey, ClusterAddress: n.ClusterAddress, APIURL: n.APIURL,
		GossipAddress: n.GossipAddress, TransportKey: n.TransportKey, Standby: n.Standby, Created: now,
	}
	runs(node, n.Program)
	return node
}

func nodeResult(n *state.Node) NodeResult {
	return NodeResult{NodeID: n.ID, RootsApproved: n.RootsApproved}
}

// The bounds of the cluster's fields, in bytes.
const (
	fingerprintSize = 32
	maxPasswordHash = 512
	maxSealed       = 8192
)

// isBlob tells whether b can be a certificate, a canary or a sealed secret.
func isBlob(b []byte) bool { return len(b) >= 1 && len(b) <= maxSealed }
