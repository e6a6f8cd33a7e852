// Package fsmtest helps the tests of every room: a state machine that is
// bootstrapped, and bodies and commands that it accepts. All of it is
// deterministic; ids are made from names. No program imports it.
package fsmtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// What a bootstrapped machine holds.
const (
	Start       int64 = 1_700_000_000_000 // Unix ms: the replicated time of bootstrap
	Region            = "region-1"
	ModuleKind        = "soft"
	ClusterID         = "c1c1c1c1-0000-4000-8000-000000000001"
	DomainID          = "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0"
	DomainName        = "account"
	ProjectID         = "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"
	UserID            = "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
	UserName          = "admin"
	AccessKeyID       = "RAFTKMS0ACCESSKEY001"
	NodeID            = "n1"
)

// Machine is a state machine with a log of its own: it gives every command the
// next index, a proposal id of its own and the current time.
type Machine struct {
	*fsm.Machine
	Now int64 // Unix ms; the test moves it

	t     testing.TB
	index uint64
}

// New returns a machine to which nothing has been applied.
func New(t testing.TB) *Machine {
	return &Machine{Machine: fsm.New(), Now: Start, t: t}
}

// Bootstrapped returns a machine with a cluster, an account, a project, an
// administrator with an access key, and one node.
func Bootstrapped(t testing.TB) *Machine {
	t.Helper()
	m := New(t)
	m.Must(Bootstrap())
	return m
}

// BootstrappedAt is [Bootstrapped] of a machine that knows the feature levels up
// to highest; the cluster is at the one of this version.
func BootstrappedAt(t testing.TB, highest uint32) *Machine {
	t.Helper()
	m := &Machine{Machine: fsm.NewAt(highest), Now: Start, t: t}
	m.Must(Bootstrap())
	return m
}

// Command returns a command with that body as its proper caller would send it,
// stamped. Tests change what they are about.
func (m *Machine) Command(body command.Body) command.Command {
	m.t.Helper()
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		m.t.Fatalf("building a command: %v", err)
	}
	cmd.Proposal = command.Proposal{
		ID:    fmt.Sprintf("test/%d", m.index+1),
		Hash:  sha256.Sum256(cmd.Body),
		First: m.Now,
	}
	cmd.Caller = CallerFor(body.Type())
	cmd.Time = m.Now
	return cmd
}

// Apply applies commands as one batch.
func (m *Machine) Apply(cmds ...command.Command) []fsm.Result {
	m.t.Helper()
	entries := make([]fsm.Entry, len(cmds))
	for i, cmd := range cmds {
		entries[i] = m.Entry(cmd)
	}
	results, err := m.Machine.Apply(entries)
	if err != nil {
		m.t.Fatalf("applying: %v", err)
	}
	return results
}

// Entry returns the command as the next entry of the log.
func (m *Machine) Entry(cmd command.Command) fsm.Entry {
	m.t.Helper()
	data, err := command.Encode(cmd)
	if err != nil {
		m.t.Fatalf("encoding a %v command: %v", cmd.Type, err)
	}
	m.index++
	return fsm.Entry{Index: m.index, Term: 1, Data: data}
}

// Do applies one command with that body and returns its result.
func (m *Machine) Do(body command.Body) fsm.Result {
	m.t.Helper()
	return m.Apply(m.Command(body))[0]
}

// Must is Do for a command that must not be refused.
func (m *Machine) Must(body command.Body) fsm.Result {
	m.t.Helper()
	result := m.Do(body)
	if result.Refusal != nil {
		m.t.Fatalf("%v was refused: %v", body.Type(), result.Refusal)
	}
	return result
}

// Caller is the administrator of a bootstrapped machine, calling for its project.
func Caller() command.Caller {
	return command.Caller{
		Kind: command.CallerUser, UserID: UserID, CredentialID: AccessKeyID, ProjectID: ProjectID,
		Source: "192.0.2.1", NodeID: NodeID, RequestID: "request",
	}
}

// CallerFor returns the caller who may ask for writes of that type.
func CallerFor(t command.Type) command.Caller {
	switch t {
	case command.TypeBootstrap, command.TypeCreateJoinToken, command.TypeApproveRoots, command.TypeRemoveNode, command.TypeSetStandby, command.TypeRotateGossipKey, command.TypeRotateCA, command.TypeRaiseLevel, command.TypeRotateRoots, command.TypeSetConsistency,
		command.TypeUnlockUser, command.TypeAddProvider, command.TypeRemoveProvider, command.TypeBindIdentity, command.TypeUnbindIdentity:
		return command.Caller{Kind: command.CallerOperator, NodeID: NodeID}
	case command.TypeAdmitNode:
		return command.Caller{Kind: command.CallerNode, NodeID: NodeID}
	case command.TypeRotateDueKey, command.TypeDeleteDueKey, command.TypeReportErasure, command.TypeRecordUse, command.TypeExpireImport,
		command.TypeLockUser, command.TypeSpendCode, command.TypeRecordAccess, command.TypeForgetRevoked, command.TypePublishCheckpoint,
		command.TypeReportNode, command.TypeReportCAs, command.TypeReportRoots, command.TypeRewrapRecords:
		return command.Caller{Kind: command.CallerSystem, NodeID: NodeID}
	case command.TypeEnrolAuthenticator, command.TypeConfirmAuthenticator:
		return ByToken(Caller())
	default:
		return Caller()
	}
}

// ByToken is a caller who has shown a token instead of an access key.
func ByToken(c command.Caller) command.Caller {
	c.Via, c.CredentialID = command.ViaToken, TokenID("token of " + c.UserID)[:32]
	return c
}

// Bootstrap is the body that makes what the constants say.
func Bootstrap() command.Bootstrap {
	return command.Bootstrap{
		ClusterID: ClusterID, FeatureLevel: state.FeatureLevel, Region: Region, ModuleKind: ModuleKind,
		RootGeneration: 1, Canary: []byte("canary"), CACertificate: []byte("certificate"),
		SealedCAKey: []byte("sealed CA key"), SealedGossip: []byte("sealed gossip key"),
		DomainID: DomainID, DomainName: DomainName, ProjectID: ProjectID, UserID: UserID, UserName: UserName,
		AccessKeyID: AccessKeyID, SealedSecret: []byte("sealed secret"), Node: Node(NodeID),
	}
}

// CreateKey is the body that makes a key of that name, with [KeyID] of it.
func CreateKey(name string) command.CreateKey {
	mac := sha256.Sum256([]byte("mac of " + name))
	return command.CreateKey{
		KeyID: KeyID(name), ProjectID: ProjectID, Name: name, Spec: state.SpecAES256,
		Usage: state.UsageEncryptDecrypt, Origin: state.OriginKMS, Level: state.LevelHSM,
		RootGeneration: 1, Blob: []byte("forty bytes of wrapped material for key " + name), MAC: mac[:],
	}
}

// EnableKey is the body that enables the key of that name.
func EnableKey(name string) command.EnableKey {
	return command.EnableKey{ProjectID: ProjectID, KeyID: KeyID(name)}
}

// DisableKey is the body that disables the key of that name.
func DisableKey(name string) command.DisableKey {
	return command.DisableKey{ProjectID: ProjectID, KeyID: KeyID(name)}
}

// AdmitNode is the body that admits the node of that name by a token.
func AdmitNode(token, node string) command.AdmitNode {
	return command.AdmitNode{TokenID: TokenID(token), Node: Node(node)}
}

// ApproveRoots is the body that approves the roots for the node of that name.
func ApproveRoots(node string) command.ApproveRoots {
	return command.ApproveRoots{NodeID: node, TransportKey: Node(node).TransportKey, RootGeneration: 1}
}

// ReportCAs is the body with which the node of that name says which CA its
// certificate is of, and which ones it trusts; all in words.
func ReportCAs(node, issuer string, trusted ...string) command.ReportCAs {
	b := command.ReportCAs{NodeID: node, Issuer: Fingerprint(issuer)}
	for _, ca := range trusted {
		b.Trusted = append(b.Trusted, Fingerprint(ca))
	}
	return b
}

// ReportNode is the body with which the node of that name says that its program
// knows the feature levels up to highest.
func ReportNode(node string, highest uint32) command.ReportNode {
	n := Node(node)
	return command.ReportNode{
		NodeID: node, ClusterAddress: n.ClusterAddress, APIURL: n.APIURL, GossipAddress: n.GossipAddress,
		Program: command.Program{Version: "test", Lowest: 1, Highest: highest},
	}
}

// Node is what a node of that name says of itself.
func Node(name string) command.NodeInfo {
	return command.NodeInfo{
		ID: name, TLSKey: Fingerprint("tls " + name), ClusterAddress: name + ".test:7401",
		APIURL: "https://" + name + ".test:7400", GossipAddress: name + ".test:7402",
		TransportKey: Fingerprint("transport " + name), ModuleKind: ModuleKind,
	}
}

// KeyID returns the UUID that this package gives a key of that name.
func KeyID(name string) string {
	h := hex.EncodeToString(Fingerprint("key " + name))
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:32]}, "-")
}

// TokenID returns the id of the join token whose secret is that text.
func TokenID(secret string) string { return hex.EncodeToString(Fingerprint(secret)) }

// Fingerprint returns the SHA-256 of a text.
func Fingerprint(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
