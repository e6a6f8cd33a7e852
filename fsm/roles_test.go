package fsm_test

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Whoever runs the cluster, administers keys, says who may do what, or reads
// traces does what their role is for and nothing else, where writes are applied:
// the node that answers them cannot forget it. The operator at a node's socket
// does none of the account's work either.
func TestRolesAreApartWhereWritesAreApplied(t *testing.T) {
	roles := []string{policy.RoleClusterOperator, policy.RoleKeyAdministrator, policy.RoleSecurityAdministrator, policy.RoleAuditor, policy.RoleKMSCrypto, policy.RoleKMSReadOnly}
	const socket = "the operator's socket"
	prepared := func(role string) (*fsmtest.Machine, command.Caller) {
		m := fsmtest.BootstrappedAt(t, 2)
		m.Must(fsmtest.ReportNode(fsmtest.NodeID, 2))
		m.Must(fsmtest.CreateKey("a"))
		m.Must(fsmtest.CreateUser("ada"))
		m.Must(fsmtest.CreateUser("bob"))
		m.Must(fsmtest.CreateAccessKey("ada"))
		m.Must(fsmtest.CreateGroup("g"))
		m.Must(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")))
		m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: m.Now + 3_600_000})
		m.Must(fsmtest.AdmitNode("t", "n2"))
		m.Must(fsmtest.ReportNode("n2", 2))
		if role == socket {
			return m, fsmtest.CallerFor(command.TypeCreateJoinToken)
		}
		m.Must(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("ada"), Policy: role}})
		return m, fsmtest.CallerAs("ada")
	}
	tried := map[command.Type]bool{}
	f := func(body command.Body, may ...string) {
		t.Helper()
		tried[body.Type()] = true
		for _, role := range append(slices.Clone(roles), socket) {
			m, caller := prepared(role)
			before := m.State().Hash()
			cmd := m.Command(body)
			cmd.Time, cmd.Caller = m.Now, caller
			got := codeOf(m.Apply(cmd)[0])
			switch {
			case slices.Contains(may, role):
				if got != "" {
					t.Errorf("%v by %s: %s", body.Type(), role, got)
				}
			case got != fsm.CodeForbidden:
				t.Errorf("%v by %s: got %q, want forbidden", body.Type(), role, got)
			case m.State().Hash() != before:
				t.Errorf("%v by %s has changed something", body.Type(), role)
			}
		}
	}
	operator, keys, security := policy.RoleClusterOperator, policy.RoleKeyAdministrator, policy.RoleSecurityAdministrator
	f(command.CreateJoinToken{ID: fsmtest.TokenID("u"), Expires: fsmtest.Start + 3_600_000}, operator, socket)
	f(command.SetConsistency{Mode: state.ConsistencyStrict}, operator, socket)
	f(fsmtest.ApproveRoots("n2"), operator, socket)
	f(command.SetStandby{NodeID: "n2", Standby: true}, operator, socket)
	f(command.RotateGossipKey{Step: command.GossipStage, Sealed: []byte("sealed")}, operator, socket)
	f(command.RotateCA{Step: command.CAStage, Certificate: []byte("new CA"), Sealed: []byte("sealed")}, operator, socket)
	f(command.RaiseLevel{Level: 2}, operator, socket)
	f(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("canary")}, operator, socket)
	f(command.RemoveNode{NodeID: "n2"}, operator, socket)

	f(fsmtest.CreateKey("b"), keys)
	f(fsmtest.DisableKey("a"), keys)
	f(fsmtest.ScheduleDeletion("a", 7*days), keys)
	f(fsmtest.CreateAlias("a", "x"), keys)
	f(fsmtest.EnableRotation("a", 30), keys)
	f(fsmtest.SetTags("a", "k", "v"), keys)
	f(fsmtest.CreateGrant("g", "a", fsmtest.ID("bob"), 1), keys)
	f(fsmtest.SetQuotas(1, 1, 1, 1)) // of KMS Administrator

	f(fsmtest.CreateAccount("other"), security)
	f(fsmtest.CreateUser("eve"), security)
	f(command.SetPassword{UserID: fsmtest.ID("bob"), Hash: fsmtest.PasswordHash}, security)
	f(command.AddMember{GroupID: fsmtest.ID("g"), UserID: fsmtest.ID("bob")}, security)
	f(command.AttachPolicy{Binding: command.Binding{UserID: fsmtest.ID("bob"), Policy: fsmtest.ID("p")}}, security)
	f(command.UpdatePolicy{ID: fsmtest.ID("p"), Name: "p", Document: fsmtest.CreatePolicy("p", fsmtest.Deny("kms:*")).Document}, security)
	f(fsmtest.CreateAccessKey("bob"), security)
	f(command.UnlockUser{UserID: fsmtest.ID("bob")}, security, socket)
	f(fsmtest.AddCA("ca"), security, socket)

	// What a node does by itself comes through no door of users or operators.
	for _, body := range []command.Body{
		command.LockUser{UserID: fsmtest.ID("bob"), Until: fsmtest.Start + 60_000}, command.SpendCode{UserID: fsmtest.ID("bob"), ID: fsmtest.ID("x"), Step: 1},
		command.DeleteDueKey{KeyID: fsmtest.KeyID("a"), Due: fsmtest.Start}, fsmtest.AdmitNode("t", "n3"),
		command.PublishCheckpoint{NodeID: fsmtest.NodeID, From: 1, Size: 1, Key: "key", Note: []byte("note")},
		fsmtest.ReportNode(fsmtest.NodeID, 1), fsmtest.ReportCAs(fsmtest.NodeID, "CA", "CA"),
		command.ReportRoots{NodeID: fsmtest.NodeID, Generation: 1},
		command.RewrapRecords{Generation: 1, Parts: []command.Rewrapped{{What: state.SealedAccessKey, ID: "none", Bytes: []byte("sealed")}}},
	} {
		f(body)
	}
	if len(tried) < 25 {
		t.Errorf("%d kinds of write tried", len(tried))
	}
}
