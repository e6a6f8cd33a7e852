package hsmtest

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

// recoveryKey is one that only a test would use.
func recoveryKey(b byte) []byte { return bytes.Repeat([]byte{b}, hsm.RecoveryKeySize) }

// What is backed up under a recovery key is restored in an empty module, of
// each generation by itself, and opens there what it wrapped before.
func (s *suite) rootsBackup(t *testing.T) {
	ctx := testContext(t)
	from := s.rooted(t)
	canary, err := hsm.NewCanary(ctx, from, home, 1)
	ok(t, err)
	old, oldKey := generate(t, from, hsm.LevelHSM)
	soft, softKey := generate(t, from, hsm.LevelSoftware)
	expect := [][]byte{encrypt(t, oldKey, blocks(2)), encrypt(t, softKey, blocks(2))}
	mac, err := from.MAC(ctx, []byte("a record"))
	ok(t, err)
	ok(t, from.CreateRoots(ctx, home, 2))

	first, err := from.BackUpRoots(ctx, 1, recoveryKey(7), s.OfficerPIN)
	ok(t, err)
	second, err := from.BackUpRoots(ctx, 2, recoveryKey(7), s.OfficerPIN)
	ok(t, err)
	if first.Cluster != home || first.Generation != 1 || first.Mechanism != hsm.MechanismRecovery || len(first.Wrapped) != 4 {
		t.Errorf("the backup is %+v", first)
	}
	// The officer has left, and what was loaded goes on.
	if !bytes.Equal(encrypt(t, oldKey, blocks(2)), expect[0]) {
		t.Error("a key that was loaded before gives something else after the backup")
	}

	to := s.empty(t)
	ok(t, to.RestoreRoots(ctx, first, recoveryKey(7)))
	ok(t, canary.Verify(ctx, to))
	ok(t, to.VerifyMAC(ctx, []byte("a record"), mac))
	to = s.reopen(t, to)
	if generation, err := to.OpenRoots(ctx, home); err != nil || generation != 1 {
		t.Fatalf("after a restart: generation %d, %v", generation, err)
	}
	for i, w := range []hsm.Wrapped{old, soft} {
		if !bytes.Equal(encrypt(t, load(t, to, w), blocks(2)), expect[i]) {
			t.Errorf("restored roots open key %d as another one", i)
		}
	}
	ok(t, to.RestoreRoots(ctx, second, recoveryKey(7)))
	if w, _ := generate(t, to, hsm.LevelHSM); w.Generation != 2 {
		t.Errorf("the generation in use is %d", w.Generation)
	}
	// What was restored is guarded like what was made, and can be backed up in turn.
	third, err := to.BackUpRoots(ctx, 1, recoveryKey(7), s.OfficerPIN)
	ok(t, err)
	if !maps.EqualFunc(first.Wrapped, third.Wrapped, bytes.Equal) {
		t.Error("the same roots under the same key are other bytes")
	}
}

// A wrong key, an altered backup, one that lacks a root or has them in another
// order is refused, and leaves nothing behind.
func (s *suite) rootsBackupRefusals(t *testing.T) {
	ctx := testContext(t)
	from := s.rooted(t)
	canary, err := hsm.NewCanary(ctx, from, home, 1)
	ok(t, err)
	bundle, err := from.BackUpRoots(ctx, 1, recoveryKey(7), s.OfficerPIN)
	ok(t, err)
	if _, err := from.BackUpRoots(ctx, 2, recoveryKey(7), s.OfficerPIN); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("a generation that is not there: %v", err)
	}
	if _, err := from.BackUpRoots(ctx, 1, recoveryKey(7)[:16], s.OfficerPIN); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("a key of 16 bytes: %v", err)
	}
	if s.OfficerPIN != nil {
		if _, err := from.BackUpRoots(ctx, 1, recoveryKey(7), []byte("not the PIN")); !errors.Is(err, hsm.ErrOfficerPIN) {
			t.Errorf("a wrong officer's PIN: %v", err)
		}
	}
	if err := from.RestoreRoots(ctx, bundle, recoveryKey(7)); !errors.Is(err, hsm.ErrRootsExist) {
		t.Errorf("roots that are there: %v", err)
	}
	ok(t, canary.Verify(ctx, from))

	to := s.empty(t)
	change := func(f func(b *hsm.RootBundle)) hsm.RootBundle {
		b := bundle
		b.Wrapped = make(map[hsm.Root][]byte)
		for root, wrapped := range bundle.Wrapped {
			b.Wrapped[root] = slices.Clone(wrapped)
		}
		f(&b)
		return b
	}
	f := func(name string, b hsm.RootBundle, key []byte, want error) {
		t.Helper()
		if err := to.RestoreRoots(ctx, b, key); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := to.OpenRoots(ctx, home); !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("%s left roots behind: %v", name, err)
		}
	}
	f("another key", bundle, recoveryKey(8), hsm.ErrUnwrap)
	f("a short key", bundle, recoveryKey(7)[:24], hsm.ErrUnsupported)
	f("another mechanism", change(func(b *hsm.RootBundle) { b.Mechanism = "RSA-OAEP-SHA1" }), recoveryKey(7), hsm.ErrUnsupported)
	f("a root that was altered", change(func(b *hsm.RootBundle) { b.Wrapped[hsm.RecordMAC][9] ^= 1 }), recoveryKey(7), hsm.ErrUnwrap)
	f("a root that is missing", change(func(b *hsm.RootBundle) { delete(b.Wrapped, hsm.RootSeal) }), recoveryKey(7), hsm.ErrUnwrap)
	f("a root that is cut short", change(func(b *hsm.RootBundle) { b.Wrapped[hsm.RootSoft] = b.Wrapped[hsm.RootSoft][:32] }), recoveryKey(7), hsm.ErrUnwrap)

	// Roots that changed places are roots of their kind: it is the canary that tells.
	ok(t, to.RestoreRoots(ctx, change(func(b *hsm.RootBundle) {
		b.Wrapped[hsm.RootHSM], b.Wrapped[hsm.RootSoft] = b.Wrapped[hsm.RootSoft], b.Wrapped[hsm.RootHSM]
	}), recoveryKey(7)))
	if err := canary.Verify(ctx, to); !errors.Is(err, hsm.ErrCanary) {
		t.Errorf("roots in each other's place: %v", err)
	}
	ok(t, to.DestroyRoots(ctx, home, 1))
	ok(t, to.RestoreRoots(ctx, bundle, recoveryKey(7)))
	ok(t, canary.Verify(ctx, to))
}
