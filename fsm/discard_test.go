package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// discarding is a machine with a key whose material is imported.
type discarding struct {
	*fsmtest.Machine
	t *testing.T
}

func newDiscarding(t *testing.T, spec string) *discarding {
	d := &discarding{fsmtest.Bootstrapped(t), t}
	b := fsmtest.CreateExternalKey("a")
	if b.Spec = spec; spec != state.SpecAES256 {
		b.Usage = state.UsageSignVerify
	}
	d.Must(b)
	return d
}

func (d *discarding) open(token string) command.OpenImport {
	b := fsmtest.OpenImport("a", token, d.Now+10_000)
	d.Must(b)
	return b
}

// want demands that the last entry has discarded these blobs, and nothing else,
// and that they have left the key.
func (d *discarding) want(what string, blobs ...[]byte) {
	d.t.Helper()
	root := d.State()
	discards := root.Discards(fsmtest.KeyID("a"))
	if len(discards) == 0 || root.LastDeletion() != root.Applied() {
		d.t.Errorf("%s: %d discards, the last deletion at %d of %d", what, len(discards), root.LastDeletion(), root.Applied())
		return
	}
	last := discards[len(discards)-1]
	if last.Index != root.Applied() || last.At != d.Now || !slices.Equal(last.Holders, []string{fsmtest.NodeID}) || len(last.Blobs) != len(blobs) {
		d.t.Errorf("%s: %+v", what, last)
	}
	key, _ := root.Key(fsmtest.KeyID("a"))
	for i, blob := range blobs {
		if i < len(last.Blobs) && !last.Blobs[i].Is(blob) {
			d.t.Errorf("%s: print %d is of other bytes", what, i)
		}
		for _, p := range key.ImportPairs {
			if string(p.Blob) == string(blob) {
				d.t.Errorf("%s: the wrapping pair is still there", what)
			}
		}
	}
}

// Whatever wrapped material leaves a key that stays is noted, so that the files
// of the nodes are erased of it.
func TestDiscards(t *testing.T) {
	d := newDiscarding(t, state.SpecAES256)
	first := d.open("1")
	for i := 2; i <= 4; i++ {
		d.open(fmt.Sprint(i))
	}
	if n := len(d.State().Discards(fsmtest.KeyID("a"))); n != 0 || d.State().LastDeletion() != 0 {
		t.Errorf("%d discards before anything went", n)
	}
	d.open("5")
	d.want("the oldest of five pairs", first.Blob)

	for i := range 9 {
		d.Must(fsmtest.CountImportFailure("a", "2"))
		if n := len(d.State().Discards(fsmtest.KeyID("a"))); n != 1 {
			t.Fatalf("%d discards after %d failures", n, i+1)
		}
	}
	d.Must(fsmtest.CountImportFailure("a", "2"))
	d.want("the pair of a token that has failed ten times", fsmtest.OpenImport("a", "2", 0).Blob)
	if code := codeOf(d.Do(fsmtest.CountImportFailure("a", "2"))); code != fsm.CodeImportToken {
		t.Errorf("the eleventh failure: %q", code)
	}
	if code := codeOf(d.Do(fsmtest.ImportMaterial("a", "2", "m", 0))); code != fsm.CodeImportToken {
		t.Errorf("an import with an ended token: %q", code)
	}
	d.want("what a refused import carries", fsmtest.ImportMaterial("a", "2", "m", 0).Version.Blob)

	material := fsmtest.ImportMaterial("a", "3", "m", d.Now+5000)
	d.Must(material)
	d.Must(fsmtest.DeleteMaterial("a"))
	d.want("deleted material", material.Version.Blob)
	material.Version.Blob = []byte("the same, wrapped once more")
	d.Must(material)
	d.Now += 5000
	d.Must(fsmtest.ExpireImport("a", d.Now))
	d.want("expired material", material.Version.Blob)
	d.Now += 5000
	d.Must(fsmtest.ExpireImport("a", d.Now))
	d.want("expired pairs", fsmtest.OpenImport("a", "3", 0).Blob, fsmtest.OpenImport("a", "4", 0).Blob, fsmtest.OpenImport("a", "5", 0).Blob)

	// The tombstone takes over what is known.
	d.open("6")
	d.Must(fsmtest.ScheduleDeletion("a", 1000))
	d.Now += 1000
	d.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID("a"), Due: d.Now})
	stone, _ := d.State().Tombstone(fsmtest.KeyID("a"))
	if left := d.State().Discards(fsmtest.KeyID("a")); len(left) != 0 || len(stone.Blobs) != 9 || !stone.Blobs[0].Is(fsmtest.OpenImport("a", "6", 0).Blob) {
		t.Errorf("%d discards are left, the tombstone has %d prints", len(left), len(stone.Blobs))
	}
}

// The pairs of an asymmetric key go with its import: nothing can be imported again.
func TestPairsOfAnAsymmetricKeyGoWithItsImport(t *testing.T) {
	d := newDiscarding(t, "EC_P256")
	one, two := d.open("1"), d.open("2")
	material := fsmtest.ImportMaterial("a", "1", "m", 0)
	material.Version.PublicKey = []byte("public key")
	d.Must(material)
	d.want("all pairs", one.Blob, two.Blob)
}

// What expires does so while the key waits for its deletion, too, and the key
// comes back without.
func TestMaterialExpiresWhileTheKeyWaitsForItsDeletion(t *testing.T) {
	d := newDiscarding(t, state.SpecAES256)
	pair := d.open("1")
	material := fsmtest.ImportMaterial("a", "1", "m", d.Now+5000)
	d.Must(material)
	d.Must(fsmtest.ScheduleDeletion("a", 7*days))
	due := func() bool { return len(d.State().Due(d.Now, 10, nil)) == 1 }
	if due() {
		t.Error("something is due already")
	}
	d.Now += 5000
	if !due() {
		t.Error("the material is not due")
	}
	d.Must(fsmtest.ExpireImport("a", d.Now))
	d.want("expired material", material.Version.Blob)
	d.Now += 5000
	if !due() {
		t.Error("the pair is not due")
	}
	d.Must(fsmtest.ExpireImport("a", d.Now))
	d.want("an expired pair", pair.Blob)
	if key, _ := d.State().Key(fsmtest.KeyID("a")); key.State != state.PendingDeletion || due() {
		t.Errorf("the key is %s", key.State)
	}
	d.Must(fsmtest.CancelDeletion("a"))
	d.open("2")
	again := fsmtest.ImportMaterial("a", "2", "m", 0)
	d.Must(again)
	if key, _ := d.State().Key(fsmtest.KeyID("a")); key.State != state.Disabled {
		t.Errorf("a key whose deletion was cancelled is %s after the import, want disabled", key.State)
	}
}

// The state does not grow with every request for parameters.
func TestDiscardsAreBounded(t *testing.T) {
	d := newDiscarding(t, state.SpecAES256)
	for i := range 80 {
		d.open(fmt.Sprint(i))
	}
	discards := d.State().Discards(fsmtest.KeyID("a"))
	if len(discards) != 64 || discards[63].Index != d.State().Applied() || d.State().LastDeletion() != d.State().Applied() {
		t.Errorf("%d discards", len(discards))
	}
	replace(t, d.Machine.Machine, d.State())
	if d.State().LastDeletion() != discards[63].Index {
		t.Error("a state that was read from its records knows of another last deletion")
	}
}
