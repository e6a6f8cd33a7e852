package fsm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// A cluster that is founded again from a backup forgets no deletion, disable
// or revocation that is still known, and none of its old nodes is in it.
func TestRefound(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	for _, name := range []string{"kept", "disabled", "deleted", "pending", "rotated"} {
		m.Must(fsmtest.CreateKey(name))
	}
	m.Must(fsmtest.CreateGrant("kept", "kept", fsmtest.UserID, state.GrantSign))
	m.Must(fsmtest.CreateGrant("revoked", "kept", fsmtest.UserID, state.GrantSign))
	backup := m.State()
	m.Must(fsmtest.RevokeGrant("revoked", "kept"))
	m.Must(fsmtest.CreateKey("lost"))
	m.Must(fsmtest.DisableKey("disabled"))
	m.Must(fsmtest.ScheduleDeletion("pending", 7*days))
	m.Must(fsmtest.RotateKey("rotated", 2))
	m.Must(fsmtest.ScheduleDeletion("deleted", 1000))
	m.Now += 1000
	m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID("deleted"), Due: m.Now})
	newer := m.State()

	with := foundation("next")
	with.KeepEnabled = true
	root, undone, err := fsm.Refound(backup, newer, with)
	if err != nil {
		t.Fatal(err)
	}
	id := func(name string) []string { return []string{fsmtest.KeyID(name)} }
	want := &fsm.Undone{
		Index: newer.Applied() + 1, Generation: 2, Keys: 4, Removed: []string{fsmtest.NodeID},
		LostKeys: id("lost"), LostVersions: id("rotated"), DeletedKeys: id("deleted"), PendingDeletion: id("pending"),
		EndedGrants: []string{fsmtest.GrantID("revoked")},
	}
	want.DisabledKeys = undone.DisabledKeys
	if diff := cmp.Diff(want, undone); diff != "" {
		t.Errorf("undone (-want +got):\n%s", diff)
	}
	f := func(name string, want state.KeyState) {
		t.Helper()
		key, ok := root.Key(fsmtest.KeyID(name))
		if !ok || key.State != want {
			t.Errorf("%s: %v, %v", name, key, ok)
		}
	}
	f("kept", state.Enabled)
	f("disabled", state.Disabled)
	f("pending", state.Disabled)
	f("rotated", state.Enabled)
	if _, there := root.Key(fsmtest.KeyID("deleted")); there {
		t.Error("a deleted key is back")
	}
	if stone, there := root.Tombstone(fsmtest.KeyID("deleted")); !there || stone.Index != root.Applied() {
		t.Errorf("tombstone %+v, %v", stone, there)
	}
	if key, _ := root.Key(fsmtest.KeyID("kept")); key.Grants != 1 || root.GrantsOn(key.ID, 0, 9)[0].Name != "kept" {
		t.Errorf("%d grants: %v", key.Grants, root.GrantsOn(key.ID, 0, 9))
	}
	c := root.Cluster()
	if c.Generation != 2 || len(c.CACertificates) != 1 || string(c.CACertificates[0]) != "another CA" || string(c.SealedGossip) != "gossip" {
		t.Errorf("cluster %+v", c)
	}
	if nodes := root.Nodes(); len(nodes) != 1 || nodes[0].ID != "n7" || root.ReplyCount() != 0 {
		t.Errorf("nodes %+v, %d replies", nodes, root.ReplyCount())
	}
	readsBack(t, root)

	// Alone, a backup leaves every key Disabled.
	with.KeepEnabled = false
	root, undone, err = fsm.Refound(backup, nil, with)
	if err != nil || undone.Keys != 5 || len(undone.DisabledKeys) != 5 || undone.LostKeys != nil {
		t.Fatalf("%+v, %v", undone, err)
	}
	for key := range root.AllKeys() {
		if key.State != state.Disabled || key.Fence != root.Applied() {
			t.Errorf("%+v", key)
		}
	}
	readsBack(t, root)

	// Nothing older is compared with: the backup's own users and keys would count
	// as taken away since.
	older := func(generation uint32) *state.Root {
		c := *backup.Cluster()
		c.Generation = generation
		txn := newer.Txn()
		txn.PutCluster(&c)
		return txn.Commit()
	}
	if _, _, err := fsm.Refound(newer, backup, with); err == nil || !strings.Contains(err.Error(), "is older than the backup") {
		t.Errorf("compared with an older state: %v", err)
	}
	if _, _, err := fsm.Refound(older(2), newer, with); err == nil || !strings.Contains(err.Error(), "is older than the backup (generation 2") {
		t.Errorf("compared with an older generation: %v", err)
	}

	if _, _, err := fsm.Refound(fsm.New().State(), nil, with); !errors.Is(err, fsm.ErrNoCluster) {
		t.Errorf("an empty state: %v", err)
	}
}

// readsBack wants that a state and its indexes are what its records say.
func readsBack(t *testing.T, root *state.Root) {
	t.Helper()
	var file bytes.Buffer
	if _, err := snapshot.Write(&file, root); err != nil {
		t.Fatal(err)
	}
	if back, err := snapshot.Read(&file); err != nil || back.Hash() != root.Hash() || back.Applied() != root.Applied() {
		t.Fatalf("read back: %v", err)
	}
}
