package command_test

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

var update = flag.Bool("update", false, "rewrite the golden bytes in testdata: a change of the format, for which a feature level is needed")

// bodies holds one body of every type, every field filled in.
func bodies() []command.Body {
	bootstrap := fsmtest.Bootstrap()
	bootstrap.PasswordHash = "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA"
	create := fsmtest.CreateKey("golden")
	create.Description = "Schlüssel für Löwen"
	create.PublicKey = []byte("public key")
	version := fsmtest.NewVersion("golden", 2)
	version.PublicKey = []byte("public key")
	account := fsmtest.CreateAccount("golden")
	account.PasswordHash = bootstrap.PasswordHash
	user := fsmtest.CreateUser("golden")
	user.PasswordHash, user.Service, user.Disabled = bootstrap.PasswordHash, "obs", true
	statement := policy.Statement{
		Deny: true, Actions: []string{"kms:*"}, Resources: []string{"kms:*:*:KeyId:*"},
		Conditions: []policy.Condition{{Operator: "StringEquals", Key: "g:UserName", Values: []string{"golden"}}},
	}
	binding := command.Binding{UserID: fsmtest.ID("golden"), GroupID: fsmtest.ID("gilded"), Policy: "Auditor", ProjectID: fsmtest.ProjectID}
	return []command.Body{
		bootstrap,
		create,
		fsmtest.EnableKey("golden"),
		fsmtest.DisableKey("golden"),
		command.CreateJoinToken{ID: fsmtest.TokenID("golden"), Expires: fsmtest.Start + 3_600_000},
		fsmtest.AdmitNode("golden", "n2"),
		fsmtest.ApproveRoots("n2"),
		command.RemoveNode{NodeID: "n2"},
		command.SetConsistency{Mode: state.ConsistencyAvailable, MaxAge: 30_000},
		command.SetStandby{NodeID: "n2", Standby: true},
		command.RotateGossipKey{Step: command.GossipStage, Sealed: []byte("sealed new gossip key")},
		command.RotateCA{Step: command.CAStage, Certificate: []byte("new CA"), Sealed: []byte("sealed key of the new CA")},
		fsmtest.ReportCAs("n2", "CA", "CA", "new CA"),
		fsmtest.ReportNode("n2", 3),
		command.RaiseLevel{Level: 2},
		command.RotateRoots{Step: command.RootRetire, Generation: 2, Canary: []byte("canary"), EndTokens: true},
		command.ReportRoots{NodeID: "n2", Generation: 2},
		command.RewrapRecords{Generation: 2, Parts: []command.Rewrapped{{What: state.SealedVersion, ID: fsmtest.KeyID("golden"), Number: 2,
			Old: [32]byte(fsmtest.Fingerprint("old")), Bytes: []byte("blob"), MAC: fsmtest.Fingerprint("mac")}}},
		fsmtest.RenameKey("golden", "gilded"),
		command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), Description: "another"},
		fsmtest.ScheduleDeletion("golden", 7*24*3_600_000),
		fsmtest.CancelDeletion("golden"),
		fsmtest.ProtectKey("golden", true),
		fsmtest.CreateAlias("golden", "alias/gold"),
		fsmtest.DeleteAliases("golden", "gold", "gilt"),
		fsmtest.AssociateAlias("golden", "gold"),
		fsmtest.EnableRotation("golden", 365),
		fsmtest.SetRotationInterval("golden", 30),
		fsmtest.DisableRotation("golden"),
		command.RotateKey{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), Version: version},
		command.RotateDueKey{KeyID: fsmtest.KeyID("golden"), Due: fsmtest.Start + 1, Version: version},
		command.DeleteDueKey{KeyID: fsmtest.KeyID("golden"), Due: fsmtest.Start + 1},
		command.OpenImport{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), TokenID: make([]byte, 16), Expires: fsmtest.Start + 1, RootGeneration: 1,
			Blob: []byte("blob"), PublicKey: []byte("public key"), MAC: make([]byte, 32)},
		command.ImportMaterial{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), TokenID: make([]byte, 16), Expires: fsmtest.Start + 1,
			Fingerprint: make([]byte, 32), Version: fsmtest.NewVersion("golden", 1)},
		command.DeleteMaterial{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden")},
		command.CountImportFailure{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), TokenID: make([]byte, 16)},
		command.ExpireImport{KeyID: fsmtest.KeyID("golden"), Due: fsmtest.Start + 1},
		command.ReportErasure{NodeID: "n2", Through: 77},
		fsmtest.CreateDefaultKey("obs"),
		command.PublishCheckpoint{NodeID: "n2", From: 1, Size: 77, Key: "key", Note: []byte("note")},
		command.RecordUse{Uses: []command.VersionUse{{KeyID: fsmtest.KeyID("golden"), Number: 2, Last: fsmtest.Start + 1}}},
		command.LockUser{UserID: fsmtest.UserID, Until: fsmtest.Start + 1},
		command.UnlockUser{UserID: fsmtest.UserID},
		command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash, Epoch: 7},
		fsmtest.RevokeToken("golden"),
		everyProvider(),
		command.RemoveProvider{ID: "golden"},
		command.BindIdentity{ProviderID: "golden", Name: "dns:gold.test", UserID: fsmtest.UserID},
		command.UnbindIdentity{ProviderID: "golden", Name: "dns:gold.test"},
		command.RecordAccess{Uses: []command.Access{{AccessKeyID: fsmtest.AccessKeyID, Last: fsmtest.Start + 1}}},
		command.ForgetRevoked{Through: fsmtest.Start + 1},
		command.EnrolAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("golden"), Sealed: []byte("sealed secret")},
		command.ConfirmAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("golden"), Step: 77},
		command.SpendCode{UserID: fsmtest.UserID, ID: fsmtest.ID("golden"), Step: 78},
		command.RemoveAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("golden"), Step: 79},
		account,
		command.UpdateAccount{DomainID: fsmtest.ID("golden"), Name: "golden", Description: "another", Enabled: true},
		command.DeleteAccount{DomainID: fsmtest.ID("golden")},
		command.CreateProject{ID: fsmtest.ID("golden"), Name: "region-2", Description: "a project"},
		command.UpdateProject{ID: fsmtest.ID("golden"), Description: "another", Enabled: true},
		command.DeleteProject{ID: fsmtest.ID("golden")},
		user,
		command.UpdateUser{ID: fsmtest.ID("golden"), Name: "gilded", Description: "another", Enabled: true},
		command.DeleteUser{ID: fsmtest.ID("golden")},
		command.SetPassword{UserID: fsmtest.ID("golden"), Hash: bootstrap.PasswordHash},
		fsmtest.CreateGroup("golden"),
		command.UpdateGroup{ID: fsmtest.ID("golden"), Name: "gilded", Description: "another"},
		command.DeleteGroup{ID: fsmtest.ID("golden")},
		command.AddMember{GroupID: fsmtest.ID("golden"), UserID: fsmtest.ID("gilded")},
		command.RemoveMember{GroupID: fsmtest.ID("golden"), UserID: fsmtest.ID("gilded")},
		fsmtest.CreatePolicy("golden", statement),
		command.UpdatePolicy{ID: fsmtest.ID("golden"), Name: "gilded", Description: "another", Document: fsmtest.CreatePolicy("golden", statement).Document},
		command.DeletePolicy{ID: fsmtest.ID("golden")},
		command.AttachPolicy{Binding: binding},
		command.DetachPolicy{Binding: binding},
		fsmtest.CreateAccessKey("golden"),
		command.UpdateAccessKey{ID: fsmtest.AccessKey("golden"), Description: "another", Enabled: true},
		command.DeleteAccessKey{ID: fsmtest.AccessKey("golden")},
		fsmtest.SetTags("golden", "stage", "prüfung", "team", ""),
		command.RemoveTags{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("golden"), Keys: []string{"stage", "team"}, All: true},
		command.BatchSetTags(fsmtest.SetTags("golden", "stage", "test")),
		command.BatchRemoveTags(fsmtest.RemoveTags("golden", "stage")),
		fsmtest.SetQuotas(200, 50, 10, 5000),
		command.CreateGrant{GrantID: fsmtest.GrantID("golden"), KeyID: fsmtest.KeyID("golden"), Grantee: fsmtest.DomainID, ToAccount: true,
			Operations: state.GrantDecryptDataKey | state.GrantRetireGrant, Retiring: fsmtest.UserID, Name: "golden"},
		fsmtest.RevokeGrant("golden", "golden"),
		fsmtest.RetireGrant("golden", "golden"),
	}
}

// everyProvider has every field of both kinds of provider.
func everyProvider() command.AddProvider {
	b := fsmtest.AddIssuer("golden")
	b.Certificate = []byte("certificate")
	return b
}

// full returns a command with every field filled in.
func full(t *testing.T, body command.Body) command.Command {
	t.Helper()
	cmd := fsmtest.New(t).Command(body)
	cmd.Caller = fsmtest.Caller()
	cmd.Caller.MFA = true
	return cmd
}

// The bytes of every command are what they were when its type came in.
func TestGolden(t *testing.T) {
	for _, body := range bodies() {
		t.Run(body.Type().String(), func(t *testing.T) { golden(t, body.Type().String(), full(t, body)) })
	}
	if len(bodies()) != len(command.Types()) {
		t.Fatalf("%d golden files for %d types", len(bodies()), len(command.Types()))
	}
}

// Fields that came in later have golden bytes of their own, beside those of
// commands without them.
func TestGoldenLaterFields(t *testing.T) {
	bootstrap := fsmtest.Bootstrap()
	bootstrap.LineageID = fsmtest.ID("golden")
	t.Run("a founding with an id", func(t *testing.T) { golden(t, "bootstrap-with-lineage", full(t, bootstrap)) })

	keeping := command.UpdateUser{ID: fsmtest.ID("golden"), KeepName: true, KeepDescription: true, KeepEnabled: true}
	t.Run("a change that keeps what it does not name", func(t *testing.T) { golden(t, "update-user-keeping", full(t, keeping)) })

	provider := everyProvider()
	provider.GroupsClaim = "groups"
	t.Run("a provider of groups", func(t *testing.T) { golden(t, "add-provider-of-groups", full(t, provider)) })

	byToken := full(t, fsmtest.DisableKey("golden"))
	byToken.Caller = fsmtest.ByToken(byToken.Caller)
	byToken.Caller.Epoch, byToken.Caller.Expires = 7, fsmtest.Start+1
	t.Run("a caller with a token", func(t *testing.T) { golden(t, "caller-with-token", byToken) })

	byProvider := full(t, fsmtest.DisableKey("golden"))
	byProvider.Caller.Via, byProvider.Caller.CredentialID, byProvider.Caller.Expires = command.ViaProvider, "golden", fsmtest.Start+1
	byProvider.Caller.Groups = fsmtest.ID("golden") + fsmtest.ID("gilded")
	t.Run("a caller with groups", func(t *testing.T) { golden(t, "caller-with-groups", byProvider) })
}

// golden compares a command with a file of testdata, both ways.
func golden(t *testing.T, name string, cmd command.Command) {
	t.Helper()
	data, err := command.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.WriteFile(file, []byte(hexLines(data)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), hexLines(data)); diff != "" {
		t.Fatalf("encoded differently (-golden +got):\n%s", diff)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(string(golden), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := command.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cmd, decoded); diff != "" {
		t.Fatalf("decoded differently (-want +got):\n%s", diff)
	}
}

// hexLines writes 32 bytes a line.
func hexLines(data []byte) string {
	var out strings.Builder
	for len(data) > 0 {
		n := min(32, len(data))
		out.WriteString(hex.EncodeToString(data[:n]) + "\n")
		data = data[n:]
	}
	return out.String()
}
