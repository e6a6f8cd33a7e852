package fsm_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// What this binary cannot know stops it, and nothing of the batch is seen.
func TestApplyStopsAtWhatItDoesNotKnow(t *testing.T) {
	encoded := func(m *fsmtest.Machine, change func(*command.Command)) []byte {
		cmd := m.Command(fsmtest.CreateKey("b"))
		change(&cmd)
		return m.Entry(cmd).Data
	}
	f := func(name string, want error, spoil func(*fsmtest.Machine, *fsm.Entry)) {
		t.Helper()
		m := fsmtest.Bootstrapped(t)
		before := m.State()
		good := m.Entry(m.Command(fsmtest.CreateKey("a")))
		bad := fsm.Entry{Index: good.Index + 1, Term: 1}
		spoil(m, &bad)
		if results, err := m.Machine.Apply([]fsm.Entry{good, bad}); !errors.Is(err, want) || results != nil {
			t.Errorf("%s: got %v, %v", name, results, err)
		}
		if m.State() != before {
			t.Errorf("%s: a part of the batch is seen", name)
		}
	}
	f("bytes", command.ErrMalformed, func(_ *fsmtest.Machine, e *fsm.Entry) { e.Data = []byte("bytes") })
	f("a type", command.ErrUnknownType, func(m *fsmtest.Machine, e *fsm.Entry) {
		data := encoded(m, func(*command.Command) {})
		e.Data = bytes.Replace(data, []byte{0xa6, 0x01, 0x02}, []byte{0xa6, 0x01, 0x13}, 1)
	})
	f("a feature level", fsm.ErrUnknownLevel, func(m *fsmtest.Machine, e *fsm.Entry) {
		e.Data = encoded(m, func(c *command.Command) { c.Level = state.FeatureLevel + 1 })
	})
	f("a body", command.ErrMalformed, func(m *fsmtest.Machine, e *fsm.Entry) {
		e.Data = encoded(m, func(c *command.Command) { c.Body = []byte{0xa0} })
	})
	f("a body of one who may not", command.ErrMalformed, func(m *fsmtest.Machine, e *fsm.Entry) {
		e.Data = encoded(m, func(c *command.Command) { c.Body, c.Caller.CredentialID = nil, "none" })
	})
	f("an index again", fsm.ErrOrder, func(m *fsmtest.Machine, e *fsm.Entry) { e.Index-- })
}

// Every type has its row, so that no command of a newer type falls through.
func TestEveryTypeIsApplied(t *testing.T) {
	m := fsmtest.BootstrappedAt(t, 2)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.DisableKey("a"))
	m.Must(fsmtest.EnableKey("a"))
	m.Must(command.SetConsistency{Mode: state.ConsistencyStrict})
	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: fsmtest.Start + 1})
	m.Must(fsmtest.AdmitNode("t", "n2"))
	m.Must(fsmtest.ApproveRoots("n2"))
	m.Must(command.SetStandby{NodeID: "n2", Standby: true})
	m.Must(command.RotateGossipKey{Step: command.GossipStage, Sealed: []byte("sealed")})
	m.Must(command.RotateCA{Step: command.CAStage, Certificate: []byte("new CA"), Sealed: []byte("sealed")})
	m.Must(fsmtest.ReportCAs("n2", "new CA", "CA", "new CA"))
	m.Must(fsmtest.ReportNode(fsmtest.NodeID, 2))
	m.Must(fsmtest.ReportNode("n2", 2))
	m.Must(command.RaiseLevel{Level: 2})
	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("canary 2")})
	m.Must(command.ReportRoots{NodeID: "n2", Generation: 2, Canary: sha256.Sum256([]byte("canary 2"))})
	m.Must(command.RewrapRecords{Generation: 1, Parts: []command.Rewrapped{{What: state.SealedAccessKey, ID: "none", Bytes: []byte("sealed")}}})
	m.Must(command.RemoveNode{NodeID: "n2"})
	m.Must(fsmtest.CreateDefaultKey("obs"))
	m.Must(fsmtest.RenameKey("a", "renamed"))
	m.Must(command.UpdateDescription{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("a"), Description: "another"})
	m.Must(fsmtest.CreateAlias("a", "x"))
	m.Must(fsmtest.AssociateAlias("a", "x"))
	m.Must(fsmtest.DeleteAliases("a", "x"))
	m.Must(fsmtest.EnableRotation("a", 30))
	m.Must(fsmtest.SetRotationInterval("a", 7))
	m.Now += 7 * days
	m.Must(fsmtest.RotateDueKey("a", m.Now, 2))
	m.Must(fsmtest.RotateKey("a", 3))
	m.Must(fsmtest.DisableRotation("a"))
	m.Must(command.RecordUse{Uses: []command.VersionUse{{KeyID: fsmtest.KeyID("a"), Number: 1, Last: m.Now}}})
	m.Must(fsmtest.SetTags("a", "one", "1"))
	m.Must(command.BatchSetTags(fsmtest.SetTags("a", "two", "2")))
	m.Must(fsmtest.RemoveTags("a", "one"))
	m.Must(command.BatchRemoveTags(fsmtest.RemoveTags("a", "two")))
	m.Must(fsmtest.SetQuotas(100, 100, 20, 10_000))
	m.Must(fsmtest.CreateGrant("g", "a", fsmtest.UserID, state.GrantSign))
	m.Must(fsmtest.RevokeGrant("g", "a"))
	m.Do(fsmtest.CreateGrant("g", "a", fsmtest.UserID, state.GrantSign)) // of a type that was tried
	m.Must(fsmtest.RetireGrant("g", "a"))
	m.Must(fsmtest.ProtectKey("a", false))
	m.Must(fsmtest.ScheduleDeletion("a", 1000))
	m.Must(fsmtest.CancelDeletion("a"))
	m.Must(command.ReportErasure{NodeID: fsmtest.NodeID, Through: 1})
	external := fsmtest.CreateKey("imported")
	external.Origin, external.Blob, external.MAC, external.RootGeneration = state.OriginExternal, nil, nil, 0
	token := make([]byte, 16)
	m.Do(external) // of a type that was tried
	m.Must(command.OpenImport{ProjectID: fsmtest.ProjectID, KeyID: external.KeyID, TokenID: token, Expires: m.Now + 5000, RootGeneration: 1,
		Blob: []byte("blob"), PublicKey: []byte("public key"), MAC: make([]byte, 32)})
	m.Must(command.CountImportFailure{ProjectID: fsmtest.ProjectID, KeyID: external.KeyID, TokenID: token})
	m.Must(command.ImportMaterial{ProjectID: fsmtest.ProjectID, KeyID: external.KeyID, TokenID: token, Fingerprint: make([]byte, 32), Version: fsmtest.NewVersion("imported", 1)})
	m.Must(command.DeleteMaterial{ProjectID: fsmtest.ProjectID, KeyID: external.KeyID})
	m.Now += 5000
	m.Must(command.ExpireImport{KeyID: external.KeyID, Due: m.Now})
	m.Must(command.LockUser{UserID: fsmtest.UserID, Until: m.Now + 1000})
	m.Must(command.UnlockUser{UserID: fsmtest.UserID})
	step := m.Now / 30_000
	m.Must(command.EnrolAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Sealed: []byte("sealed secret")})
	m.Must(command.ConfirmAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Step: step})
	m.Must(command.SpendCode{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Step: step + 1})
	m.Must(command.RemoveAuthenticator{UserID: fsmtest.UserID, ID: fsmtest.ID("phone"), Step: step + 2})
	m.Must(command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash, Epoch: m.State().Applied()})
	m.Must(fsmtest.RevokeToken("a"))
	m.Must(fsmtest.AddCA("ca"))
	m.Must(command.BindIdentity{ProviderID: "ca", Name: "dns:a.test", UserID: fsmtest.UserID})
	m.Must(command.UnbindIdentity{ProviderID: "ca", Name: "dns:a.test"})
	m.Must(command.RemoveProvider{ID: "ca"})
	m.Must(command.ForgetRevoked{Through: m.Now})
	m.Must(command.RecordAccess{Uses: []command.Access{{AccessKeyID: fsmtest.AccessKeyID, Last: m.Now}}})
	tryIdentities(m)
	m.Must(command.PublishCheckpoint{NodeID: fsmtest.NodeID, From: 1, Size: 1, Key: "key", Note: []byte("note")})
	// The one that is left needs a deletion that stands.
	m.Must(fsmtest.ScheduleDeletion("a", 1000))
	m.Now += 1000
	m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID("a"), Due: m.Now})
	if done := int(m.State().Applied()) - 4; done != len(command.Types()) {
		t.Fatalf("%d of %d types tried", done, len(command.Types()))
	}
}

func TestQuota(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	for i := range int(state.DefaultKeyQuota) {
		m.Must(fsmtest.CreateKey(fmt.Sprintf("key-%d", i)))
	}
	if result := m.Do(fsmtest.CreateKey("one-more")); codeOf(result) != fsm.CodeQuotaExceeded {
		t.Fatalf("got %+v", result)
	}
	// A name that is taken is told before the quota: the caller may know it.
	taken := fsmtest.CreateKey("key-7")
	taken.KeyID = fsmtest.KeyID("another")
	if result := m.Do(taken); codeOf(result) != fsm.CodeAlreadyExists {
		t.Fatalf("got %+v", result)
	}
}

// States that no command leads to yet are refused all the same.
func TestKeysThatCannotBeSwitched(t *testing.T) {
	f := func(s state.KeyState, enable, disable fsm.Code) {
		t.Helper()
		m := fsmtest.Bootstrapped(t)
		m.Must(fsmtest.CreateKey("a"))
		x := m.State().Txn()
		old, _ := x.Key(fsmtest.KeyID("a"))
		key := *old
		key.State = s
		x.PutKey(&key)
		replace(t, m.Machine, x.Commit())
		if got := codeOf(m.Do(fsmtest.EnableKey("a"))); got != enable {
			t.Errorf("enabling a key that is %v: got %q", s, got)
		}
		if got := codeOf(m.Do(fsmtest.DisableKey("a"))); got != disable {
			t.Errorf("disabling a key that is %v: got %q", s, got)
		}
	}
	f(state.PendingDeletion, fsm.CodePendingDeletion, fsm.CodePendingDeletion)
	f(state.PendingImport, fsm.CodeNotDisabled, fsm.CodeNotEnabled)
}

// The bounds of what a node and a bootstrap may bring.
func TestBootstrapBounds(t *testing.T) {
	f := func(name string, spoil func(*command.Bootstrap)) {
		t.Helper()
		m, body := fsmtest.New(t), fsmtest.Bootstrap()
		spoil(&body)
		if result := m.Do(body); codeOf(result) != fsm.CodeInvalid || m.State().Cluster() != nil {
			t.Errorf("%s: got %+v", name, result.Refusal)
		}
	}
	f("cluster id in capitals", func(b *command.Bootstrap) { b.ClusterID = strings.ToUpper(b.ClusterID) })
	f("feature level 0", func(b *command.Bootstrap) { b.FeatureLevel = 0 })
	f("feature level to come", func(b *command.Bootstrap) { b.FeatureLevel = state.FeatureLevel + 1 })
	f("no region", func(b *command.Bootstrap) { b.Region = "" })
	f("a space in the region", func(b *command.Bootstrap) { b.Region = "region 1" })
	f("no module kind", func(b *command.Bootstrap) { b.ModuleKind = "" })
	f("root generation 0", func(b *command.Bootstrap) { b.RootGeneration = 0 })
	f("no canary", func(b *command.Bootstrap) { b.Canary = nil })
	f("a large certificate", func(b *command.Bootstrap) { b.CACertificate = make([]byte, 8193) })
	f("no secret", func(b *command.Bootstrap) { b.SealedSecret = nil })
	f("a short user id", func(b *command.Bootstrap) { b.UserID = b.UserID[1:] })
	f("a UUID for a project id", func(b *command.Bootstrap) { b.ProjectID = b.ClusterID })
	f("a long user name", func(b *command.Bootstrap) { b.UserName = strings.Repeat("u", 65) })
	f("a long password hash", func(b *command.Bootstrap) { b.PasswordHash = strings.Repeat("$", 513) })
	f("an access key in small letters", func(b *command.Bootstrap) { b.AccessKeyID = strings.ToLower(b.AccessKeyID) })
	f("no node id", func(b *command.Bootstrap) { b.Node.ID = "" })
	f("a short TLS key", func(b *command.Bootstrap) { b.Node.TLSKey = b.Node.TLSKey[1:] })
	f("a short transport key", func(b *command.Bootstrap) { b.Node.TransportKey = b.Node.TransportKey[:31] })
	f("no address", func(b *command.Bootstrap) { b.Node.ClusterAddress = "" })
	f("a line break in a URL", func(b *command.Bootstrap) { b.Node.APIURL = "https://n1\n" })
}

// A command within the binary's reach but above the cluster's is refused.
func TestFeatureLevelOfTheCluster(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	x := m.State().Txn()
	cluster := *x.Cluster()
	cluster.FeatureLevel = 0 // as if this binary's commands were of a level still to come
	x.PutCluster(&cluster)
	replace(t, m.Machine, x.Commit())
	if result := m.Do(fsmtest.CreateKey("a")); codeOf(result) != fsm.CodeFeatureLevel || m.State().KeyCount(fsmtest.ProjectID) != 0 {
		t.Fatalf("got %+v", result)
	}
}

// The reply cache has a bound. What it lets go of is refused, never done twice.
func TestReplyCacheIsBounded(t *testing.T) {
	const bound = 65_536
	m := fsmtest.Bootstrapped(t)
	x := m.State().Txn()
	for i := range bound - x.ReplyCount() {
		x.PutReply(&state.Reply{ProposalID: fmt.Sprintf("filler/%d", i), First: m.Now + 1 + int64(i), Index: 1})
	}
	replace(t, m.Machine, x.Commit())
	m.Now += bound // still within the age that replies are kept for

	first := m.State()
	oldest, _ := first.OldestReply()
	if oldest.ProposalID != "test/1" {
		t.Fatalf("the oldest reply is %+v, not that of bootstrap", oldest)
	}
	m.Must(fsmtest.CreateKey("a"))
	after := m.State()
	if after.ReplyCount() != bound {
		t.Fatalf("%d replies are kept", after.ReplyCount())
	}
	if _, kept := after.Reply("test/1"); kept || after.Horizon() != oldest.First+1 {
		t.Fatalf("the oldest is kept: %v; the horizon is first+%d", kept, after.Horizon()-oldest.First)
	}
	again := m.Command(fsmtest.CreateKey("b"))
	again.Proposal.ID, again.Proposal.First = "test/1", oldest.First
	if result := m.Apply(again)[0]; codeOf(result) != fsm.CodeOutcomeUnknown {
		t.Fatalf("a repeat of what was let go got %+v", result)
	}
}

// A snapshot is written while the machine goes on, and stays as it was.
func TestSnapshotDuringApply(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("before"))
	pinned, want := m.Snapshot(), m.State().Hash()
	var file bytes.Buffer
	var done sync.WaitGroup
	done.Go(func() {
		if n, err := pinned.WriteTo(&file); err != nil || n != int64(file.Len()) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	for i := range 50 {
		m.Must(fsmtest.CreateKey(fmt.Sprintf("during-%d", i)))
	}
	done.Wait()
	fresh := fsm.New()
	if err := fresh.Restore(&file); err != nil {
		t.Fatal(err)
	}
	if fresh.State().Hash() != want || fresh.State().Applied() != pinned.Index() || pinned.Index() != 2 {
		t.Fatal("the snapshot moved with the machine")
	}
}

func TestFailedRestoreLeavesTheState(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	before := m.State()
	var file bytes.Buffer
	if _, err := m.Snapshot().WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(io.LimitReader(&file, int64(file.Len()-1))); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Fatalf("got %v", err)
	}
	if m.State() != before {
		t.Fatal("the state was replaced")
	}
}

type fullDisk struct{ left int }

var errFullDisk = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		n := d.left
		d.left = 0
		return n, errFullDisk
	}
	d.left -= len(p)
	return len(p), nil
}

func TestSnapshotToAFullDisk(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	var file bytes.Buffer
	size, err := m.Snapshot().WriteTo(&file)
	if err != nil {
		t.Fatal(err)
	}
	for left := range int(size) {
		if n, err := m.Snapshot().WriteTo(&fullDisk{left}); !errors.Is(err, errFullDisk) || n > size {
			t.Fatalf("with room for %d of %d bytes: wrote %d, %v", left, size, n, err)
		}
	}
}
