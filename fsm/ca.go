package fsm

import (
	"bytes"
	"crypto/sha256"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// rotateCA takes one step of a rotation of the cluster's CA. Nodes know one
// another by certificates, so a step that would leave one of them with a CA that
// another does not trust is refused, and names the node.
func rotateCA(c *call, b command.RotateCA) (any, *Refusal) {
	cluster := *c.Cluster()
	staged := len(cluster.SealedCAKeyNext) > 0
	used := len(cluster.CACertificates) > 1 && !staged
	comes := b.Step == command.CAStage
	switch {
	case comes != (len(b.Certificate) > 0) || comes != (len(b.Sealed) > 0) || comes && !(isBlob(b.Certificate) && isBlob(b.Sealed)):
		return nil, refuse(CodeInvalid, "a new CA comes with the first step, and only with that")
	case comes && (staged || used):
		return nil, refuse(CodeStale, "the cluster's CA is being rotated")
	case comes && bytes.Equal(b.Certificate, cluster.CACertificates[0]):
		return nil, refuse(CodeInvalid, "that is the CA in use")
	case comes:
		cluster.CACertificates = [][]byte{cluster.CACertificates[0], b.Certificate}
		cluster.SealedCAKeyNext = b.Sealed
	case b.Step == command.CAUse && staged:
		next := cluster.CACertificates[1]
		for _, node := range c.Nodes() {
			if !node.TrustsCA(CAFingerprint(next)) {
				return nil, refuse(CodeStale, "node %s does not trust the new CA yet, and would be cut off: start it, or take it out of the cluster (`kmsctl cluster remove`)", node.ID)
			}
		}
		cluster.CACertificates = [][]byte{next, cluster.CACertificates[0]}
		cluster.SealedCAKey, cluster.SealedCAKeyNext = cluster.SealedCAKeyNext, nil
	case b.Step == command.CADrop && used:
		signs := CAFingerprint(cluster.CACertificates[0])
		for _, node := range c.Nodes() {
			if !bytes.Equal(node.CAIssuer, signs) {
				return nil, refuse(CodeStale, "node %s has no certificate of the new CA yet, and would be cut off: start it, or take it out of the cluster (`kmsctl cluster remove`)", node.ID)
			}
		}
		cluster.CACertificates = cluster.CACertificates[:1:1]
	case b.Step == command.CAAbort && staged:
		cluster.CACertificates, cluster.SealedCAKeyNext = cluster.CACertificates[:1:1], nil
	case b.Step == command.CAAbort && used:
		return nil, refuse(CodeStale, "the new CA is in use: there is no way back but to finish, and to rotate once more")
	case b.Step == command.CAUse, b.Step == command.CADrop, b.Step == command.CAAbort:
		return nil, refuse(CodeStale, "the rotation of the CA is not at that step")
	default:
		return nil, refuse(CodeInvalid, "there is no such step")
	}
	c.PutCluster(&cluster)
	return struct{}{}, nil
}

// CAFingerprint is how a node's record names a CA: SHA-256 of its certificate in DER.
func CAFingerprint(certificate []byte) []byte {
	sum := sha256.Sum256(certificate)
	return sum[:]
}

// reportCAs notes which CAs a node trusts, and which one signed its certificate.
func reportCAs(c *call, b command.ReportCAs) (any, *Refusal) {
	old, known := c.Node(b.NodeID)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such node")
	}
	ok := len(b.Issuer) == fingerprintSize && len(b.Trusted) >= 1 && len(b.Trusted) <= state.MaxCAs
	for _, fingerprint := range b.Trusted {
		ok = ok && len(fingerprint) == fingerprintSize
	}
	if !ok {
		return nil, refuse(CodeInvalid, "a fingerprint of a CA is not a SHA-256, or there are too many")
	}
	node := *old
	node.CAsTrusted, node.CAIssuer = b.Trusted, b.Issuer
	c.PutNode(&node)
	return nodeResult(&node), nil
}
