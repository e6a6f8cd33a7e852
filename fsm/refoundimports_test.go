package fsm_test

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// What was erased of imported material after a backup is erased by its restore
// again, every import that was under way has ended, and only the material that
// a key has ever had can be imported.
func TestRefoundImports(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	later := m.Now + 10*days
	bring := func(name string, expires int64) {
		t.Helper()
		m.Must(fsmtest.OpenImport(name, name, m.Now+10_000))
		m.Must(fsmtest.ImportMaterial(name, name, "material of "+name, expires))
	}
	for _, name := range []string{"kept", "deleted", "expired", "disabled", "pending", "again", "sooner", "waiting"} {
		m.Must(fsmtest.CreateExternalKey(name))
		if name != "waiting" {
			expires := later
			if name == "expired" {
				expires = m.Now + 500
			}
			bring(name, expires)
		}
	}
	m.Must(fsmtest.ScheduleDeletion("pending", 7*days))
	m.Must(fsmtest.OpenImport("waiting", "open", m.Now+10_000))
	for range 10 {
		m.Must(fsmtest.CountImportFailure("waiting", "open"))
	}
	m.Must(fsmtest.OpenImport("waiting", "other", m.Now+10_000))
	backup := m.State()

	remove := func(name string) {
		t.Helper()
		m.Must(command.DeleteMaterial{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID(name)})
	}
	remove("deleted")
	m.Must(fsmtest.DisableKey("disabled"))
	remove("disabled")
	remove("again")
	bring("again", later)
	remove("sooner")
	bring("sooner", later-days)
	m.Must(command.CancelDeletion{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("pending")})
	remove("pending")
	expiring, _ := m.State().Key(fsmtest.KeyID("expired"))
	m.Now += 20_000
	m.Must(fsmtest.ExpireImport("expired", expiring.ImportDue()))
	m.Must(fsmtest.OpenImport("waiting", "third", m.Now+10_000))
	m.Must(fsmtest.ImportMaterial("waiting", "third", "material of waiting", 0))
	newer := m.State()

	with := foundation("next")
	with.KeepEnabled = true
	refound := func(newer *state.Root) (*state.Root, *fsm.Undone) {
		t.Helper()
		root, undone, err := fsm.Refound(backup, newer, with)
		if err != nil {
			t.Fatal(err)
		}
		readsBack(t, root)
		return root, undone
	}
	root, undone := refound(newer)
	f := func(name string, want state.KeyState, erased, disabledBefore bool) {
		t.Helper()
		key, _ := root.Key(fsmtest.KeyID(name))
		old, _ := backup.Version(key.ID, 1)
		_, has := root.Version(key.ID, 1)
		if key.State != want || key.DisabledBefore != disabledBefore || len(key.ImportPairs) != 0 || len(key.Fingerprint) == 0 {
			t.Errorf("%s: %+v", name, key)
		}
		if erased != slices.Contains(undone.ErasedMaterial, key.ID) || erased != (old != nil && !has) {
			t.Errorf("%s: its material is there: %v, undone: %v", name, has, undone.ErasedMaterial)
		}
		if !erased {
			return
		}
		discards := root.Discards(key.ID)
		last := discards[len(discards)-1]
		if last.Index != root.Applied() || !slices.Equal(last.Holders, []string{"n7"}) || !slices.ContainsFunc(last.Blobs, func(p state.BlobPrint) bool { return p.Is(old.Blob) }) {
			t.Errorf("%s: the discard is %+v", name, last)
		}
	}
	f("kept", state.Enabled, false, false)
	f("deleted", state.PendingImport, true, false)
	f("expired", state.PendingImport, true, false)
	f("disabled", state.PendingImport, true, true)
	f("pending", state.PendingDeletion, true, true)
	f("again", state.Enabled, false, false)
	f("sooner", state.Enabled, false, false)
	f("waiting", state.PendingImport, false, false)
	if key, _ := root.Key(fsmtest.KeyID("sooner")); key.MaterialExpires != later-days {
		t.Errorf("its material ends at %d, want %d", key.MaterialExpires, later-days)
	}
	if root.LastDeletion() != root.Applied() {
		t.Errorf("the node erases its files up to %d of %d", root.LastDeletion(), root.Applied())
	}
	waiting := fsmtest.KeyID("waiting")
	if !slices.Contains(undone.EndedImports, waiting) || !slices.Contains(undone.LostVersions, waiting) {
		t.Errorf("undone: %+v", undone)
	}

	// Alone, a backup ends what was under way, too, and all keys that it leaves
	// without material will be Disabled with it.
	with.KeepEnabled = false
	root, undone = refound(nil)
	if key, _ := root.Key(waiting); len(key.ImportPairs) != 0 || !slices.Contains(undone.EndedImports, waiting) || undone.ErasedMaterial != nil {
		t.Errorf("alone: %+v, %+v", key, undone)
	}
	root, undone = refound(newer)
	f("deleted", state.PendingImport, true, true)
}
