package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// deleteKey takes a key of that name to its end.
func deleteKey(m *fsmtest.Machine, name string) {
	m.Must(fsmtest.ScheduleDeletion(name, 1000))
	m.Now += 1000
	m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID(name), Due: m.Now})
}

// underSecondRoots takes a rotation of the roots to where things are put under
// generation 2.
func underSecondRoots(m *fsmtest.Machine) {
	canary := []byte("canary 2")
	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: canary})
	for _, node := range m.State().Nodes() {
		m.Must(command.ReportRoots{NodeID: node.ID, Generation: 2, Canary: [32]byte(fsmtest.Fingerprint("canary 2"))})
	}
	m.Must(command.RotateRoots{Step: command.RootUse, Generation: 2})
}

// prints counts what of a deleted key is looked for of these bytes.
func prints(t *testing.T, m *fsmtest.Machine, name string, blob []byte) (n int) {
	t.Helper()
	stone, ok := m.State().Tombstone(fsmtest.KeyID(name))
	if !ok {
		t.Fatalf("%s has no tombstone", name)
	}
	for _, p := range stone.Blobs {
		if p.Is(blob) {
			n++
		}
	}
	return n
}

// What a rotation of the roots has wrapped before a key was deleted, and what is
// applied after, stands in every log behind the deletion: all nodes erase again.
func TestLateRewrapsAreErased(t *testing.T) {
	m := rotating(t)
	m.Must(fsmtest.CreateKey("b"))
	m.Must(fsmtest.CreateKey("stays"))
	underSecondRoots(m)
	a, b := fsmtest.CreateKey("a"), fsmtest.CreateKey("b")
	late := command.RewrapRecords{Generation: 2, Parts: []command.Rewrapped{
		under(state.SealedVersion, a.KeyID, 1, a.Blob, []byte("a under 2")),
		under(state.SealedVersion, b.KeyID, 1, b.Blob, []byte("b under 2")),
		under(state.SealedVersion, fsmtest.KeyID("stays"), 1, fsmtest.CreateKey("stays").Blob, []byte("stays under 2")),
		under(state.SealedVersion, fsmtest.KeyID("never was"), 1, a.Blob, []byte("nothing")),
	}}
	deleteKey(m, "a")
	deleteKey(m, "b")
	m.Must(command.RemoveNode{NodeID: "n2"})
	deleted := m.State().LastDeletion()

	m.Must(late)
	for name, blob := range map[string]string{"a": "a under 2", "b": "b under 2"} {
		stone, _ := m.State().Tombstone(fsmtest.KeyID(name))
		if stone.Index != m.State().Applied() || prints(t, m, name, []byte(blob)) != 1 || len(stone.Blobs) != 2 || stone.Blobs[1].RootGeneration != 2 {
			t.Errorf("%s: %+v", name, stone)
		}
		if !slices.Equal(stone.Holders, []string{fsmtest.NodeID, "n2"}) {
			t.Errorf("%s: held by %v", name, stone.Holders)
		}
	}
	if last := m.State().LastDeletion(); last != m.State().Applied() || last == deleted {
		t.Errorf("erased up to %d of %d", last, m.State().Applied())
	}
	if n := len(m.State().Discards(fsmtest.KeyID("stays"))); n != 0 {
		t.Errorf("%d discards of a key that has its material", n)
	}

	// Once more, as a whole too late: no print twice, but the log has the bytes again.
	m.Must(late)
	if stone, _ := m.State().Tombstone(a.KeyID); stone.Index != m.State().Applied() || len(stone.Blobs) != 2 {
		t.Errorf("once more: %+v", stone)
	}
	late.Generation = 1
	if r := m.Do(late).Refusal; r == nil || r.Code != fsm.CodeStale {
		t.Errorf("under roots that are not in use: %v", r)
	}
	if last := m.State().LastDeletion(); last != m.State().Applied() {
		t.Errorf("refused, and erased up to %d of %d", last, m.State().Applied())
	}

	// The index of deletions is one of the state, however that was come by.
	last, hash := m.State().LastDeletion(), m.State().Hash()
	replace(t, m.Machine, m.State())
	if m.State().LastDeletion() != last || m.State().Hash() != hash {
		t.Errorf("read from its records: erased up to %d, not %d", m.State().LastDeletion(), last)
	}
}

// A repeat does nothing, but its bytes are in the log: also those that the reply
// cache answers, and those that are too old for it.
func TestLateRepeatsAreErased(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	made := m.Command(fsmtest.CreateKey("a"))
	m.Apply(made)
	rotated := m.Command(fsmtest.RotateKey("a", 2))
	m.Apply(rotated)
	if m.Apply(made, rotated); m.State().LastDeletion() != 0 {
		t.Errorf("repeats of a key that is there: erased up to %d", m.State().LastDeletion())
	}
	deleteKey(m, "a")
	for _, cmd := range []command.Command{made, rotated} {
		cmd.Time = m.Now
		if r := m.Apply(cmd)[0]; r.Refusal != nil {
			t.Fatalf("the repeat: %v", r.Refusal)
		}
		if stone, _ := m.State().Tombstone(fsmtest.KeyID("a")); stone.Index != m.State().Applied() || m.State().LastDeletion() != stone.Index || len(stone.Blobs) != 2 {
			t.Errorf("%v, repeated: %+v", cmd.Type, stone)
		}
	}
	m.Now += 3_600_000
	made.Time = m.Now
	if code := codeOf(m.Apply(made)[0]); code != fsm.CodeOutcomeUnknown || m.State().LastDeletion() != m.State().Applied() {
		t.Errorf("too old: %q, erased up to %d of %d", code, m.State().LastDeletion(), m.State().Applied())
	}
}

// So it is with what left a key that stays, and it is looked for once.
func TestLateImportsAreErased(t *testing.T) {
	d := newDiscarding(t, state.SpecAES256)
	opened := d.Command(fsmtest.OpenImport("a", "1", d.Now+10_000))
	d.Apply(opened)
	imported := d.Command(fsmtest.ImportMaterial("a", "1", "m", 0))
	d.Apply(imported)
	blob := fsmtest.ImportMaterial("a", "1", "m", 0).Version.Blob
	if d.Apply(opened, imported); d.State().LastDeletion() != 0 {
		t.Errorf("repeats of what is there: erased up to %d", d.State().LastDeletion())
	}
	d.Must(fsmtest.DeleteMaterial("a"))
	d.want("deleted", blob)
	for range 3 {
		d.Apply(imported)
		d.want("imported once more", blob)
	}
	if n := len(d.State().Discards(fsmtest.KeyID("a"))); n != 1 {
		t.Errorf("%d discards of one blob", n)
	}
	d.Now += 10_000
	d.Must(fsmtest.ExpireImport("a", d.Now))
	opened.Time = d.Now
	d.Apply(opened)
	d.want("opened once more", fsmtest.OpenImport("a", "1", 0).Blob)

	// What is refused has its bytes in the log as well.
	late := fsmtest.ImportMaterial("a", "1", "another", 0)
	if code := codeOf(d.Do(late)); code != fsm.CodeImportExpired {
		t.Errorf("refused: %q", code)
	}
	d.want("refused", late.Version.Blob)
	if got := d.State().Discards(fsmtest.KeyID("a")); len(got) != 3 {
		t.Errorf("%d discards", len(got))
	}
}

// One deleted key's tombstone does not grow with what comes late.
func TestLatePrintsAreBounded(t *testing.T) {
	m := rotating(t)
	underSecondRoots(m)
	deleteKey(m, "a")
	id := fsmtest.KeyID("a")
	for i := range 40 {
		late := command.RewrapRecords{Generation: 2}
		for j := range command.MaxRewrapped {
			late.Parts = append(late.Parts, under(state.SealedVersion, id, 1, []byte("old"), fmt.Appendf(nil, "%d %d", i, j)))
		}
		m.Must(late)
	}
	if stone, _ := m.State().Tombstone(id); len(stone.Blobs) != 8000 || stone.Index != m.State().Applied() {
		t.Errorf("%d prints, erased up to %d of %d", len(stone.Blobs), stone.Index, m.State().Applied())
	}
}

// Whatever is answered: material that a command carries and that is its key's no
// more is looked for, and every node erases what lies before the next entry.
func TestCarriedMaterialIsErased(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := fsmtest.Bootstrapped(t)
		var earlier []command.Command
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			cmd := drawCommand(rt, m)
			if len(earlier) > 0 && rapid.IntRange(0, 3).Draw(rt, "repeat") == 0 {
				cmd = rapid.SampledFrom(earlier).Draw(rt, "which")
				cmd.Time = m.Now
			}
			earlier = append(earlier, cmd)
			m.Apply(cmd)
			root := m.State()
			for _, material := range carriedBy(rt, cmd) {
				var looked []state.BlobPrint
				stone, deleted := root.Tombstone(material.KeyID)
				key, exists := root.Key(material.KeyID)
				_, there := root.Version(material.KeyID, material.Number)
				switch {
				case deleted:
					looked = stone.Blobs
				case exists && key.Origin == state.OriginExternal && !there && !slices.ContainsFunc(key.ImportPairs, func(p state.ImportPair) bool { return string(p.Blob) == string(material.Blob) }):
					for _, d := range root.Discards(key.ID) {
						looked = append(looked, d.Blobs...)
					}
				default:
					continue
				}
				if root.LastDeletion() != root.Applied() || !slices.ContainsFunc(looked, func(p state.BlobPrint) bool { return p.Is(material.Blob) }) {
					rt.Fatalf("%v of %s, number %d: not looked for, or not erased: %d of %d", cmd.Type, material.KeyID, material.Number, root.LastDeletion(), root.Applied())
				}
			}
		}
	})
}

// carriedBy is what a command carries of wrapped material.
func carriedBy(t *rapid.T, cmd command.Command) []command.Material {
	switch cmd.Type {
	case command.TypeCreateKey:
		return decoded[command.CreateKey](t, cmd).Material()
	case command.TypeCreateDefaultKey:
		return decoded[command.CreateDefaultKey](t, cmd).Material()
	case command.TypeRotateKey:
		return decoded[command.RotateKey](t, cmd).Material()
	case command.TypeRotateDueKey:
		return decoded[command.RotateDueKey](t, cmd).Material()
	case command.TypeOpenImport:
		return decoded[command.OpenImport](t, cmd).Material()
	case command.TypeImportMaterial:
		return decoded[command.ImportMaterial](t, cmd).Material()
	default:
		return nil
	}
}

func decoded[B command.Body](t *rapid.T, cmd command.Command) B {
	body, err := command.DecodeBody[B](cmd)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Older backups open under the roots that a key was made under, too: the
// tombstone names all generations, and so does the discard of imported material.
func TestPrintsNameAllRootGenerations(t *testing.T) {
	m := rotating(t)
	m.Must(fsmtest.CreateExternalKey("i"))
	m.Must(fsmtest.OpenImport("i", "1", m.Now+1000))
	m.Must(fsmtest.ImportMaterial("i", "1", "m", 0))
	m.Now += 1000
	m.Must(fsmtest.ExpireImport("i", m.Now))
	blobs := map[string][]byte{"a": fsmtest.CreateKey("a").Blob, "i": fsmtest.ImportMaterial("i", "1", "m", 0).Version.Blob}
	for generation := uint32(2); generation <= 3; generation++ {
		canary := []byte{byte(generation)}
		m.Must(command.RotateRoots{Step: command.RootStage, Generation: generation, Canary: canary})
		for _, node := range m.State().Nodes() {
			m.Must(command.ReportRoots{NodeID: node.ID, Generation: generation, Canary: sha256.Sum256(canary)})
		}
		m.Must(command.RotateRoots{Step: command.RootUse, Generation: generation})
		again := command.RewrapRecords{Generation: generation}
		for _, name := range []string{"a", "i"} {
			next := fmt.Appendf(nil, "%s under %d", name, generation)
			again.Parts = append(again.Parts, under(state.SealedVersion, fsmtest.KeyID(name), 1, blobs[name], next))
			blobs[name] = next
		}
		for what, old := range map[state.SealedWhat]string{state.SealedCAKey: "CA", state.SealedGossip: "gossip"} {
			again.Parts = append(again.Parts, under(what, fsmtest.ClusterID, 0, seal(byte(generation-1), old), seal(byte(generation), old)))
		}
		again.Parts = append(again.Parts, under(state.SealedAccessKey, fsmtest.AccessKeyID, 0, seal(byte(generation-1), "secret"), seal(byte(generation), "secret")))
		m.Must(again)
		m.Must(command.RotateRoots{Step: command.RootRetire, Generation: generation - 1, EndTokens: true})
	}
	m.Must(fsmtest.DeleteMaterial("i"))
	replace(t, m.Machine, m.State())
	deleteKey(m, "a")
	stone, _ := m.State().Tombstone(fsmtest.KeyID("a"))
	discards := m.State().Discards(fsmtest.KeyID("i"))
	for what, p := range map[string]state.BlobPrint{"deleted": stone.Blobs[0], "discarded": discards[len(discards)-1].Blobs[0]} {
		if got := p.RootGenerations(); !slices.Equal(got, []uint32{1, 2, 3}) {
			t.Errorf("%s: generations %v of %+v", what, got, p)
		}
	}
	young := fsmtest.CreateKey("young")
	young.RootGeneration = 3
	m.Must(young)
	deleteKey(m, "young")
	if stone, _ := m.State().Tombstone(young.KeyID); !slices.Equal(stone.Blobs[0].RootGenerations(), []uint32{3}) {
		t.Errorf("made under the newest: %+v", stone.Blobs)
	}
}
