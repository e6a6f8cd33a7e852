package hsmtest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

// A generation is used before it is the highest, and after.
func (s *suite) rootsUnder(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	ok(t, m.CreateRoots(ctx, home, 2))
	var seals, macs [3][]byte
	for _, g := range []hsm.RootGeneration{1, 2} {
		u := m.Under(g)
		canary, err := hsm.NewCanary(ctx, m, home, g)
		ok(t, err)
		ok(t, canary.Verify(ctx, m))
		w, err := u.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
		ok(t, err)
		imported, err := u.Import(ctx, hsm.LevelSoftware, hsm.SpecAES256, bytes.Repeat([]byte{5}, 32))
		ok(t, err)
		if w.Generation != g || imported.Generation != g {
			t.Errorf("under generation %d, keys are of %d and %d", g, w.Generation, imported.Generation)
		}
		load(t, m, w)
		seals[g] = encrypt(t, sealKey(t, u), blocks(1))
		macs[g], err = u.MAC(ctx, []byte("a record"))
		ok(t, err)
		ok(t, m.VerifyMAC(ctx, []byte("a record"), macs[g]))
	}
	if bytes.Equal(seals[1], seals[2]) || bytes.Equal(macs[1], macs[2]) {
		t.Error("both generations have one sealing root or one key for records")
	}
	if !bytes.Equal(encrypt(t, sealKey(t, m), blocks(1)), seals[2]) {
		t.Error("without being told the module does not use the highest generation")
	}
	to := s.empty(t)
	for _, g := range []hsm.RootGeneration{2, 1} {
		public, err := to.TransportKey(ctx)
		ok(t, err)
		bundle, err := m.Under(g).ExportRoots(ctx, public, s.OfficerPIN)
		ok(t, err)
		if bundle.Generation != g {
			t.Errorf("exported generation %d instead of %d", bundle.Generation, g)
		}
		ok(t, to.ImportRoots(ctx, bundle))
		if !bytes.Equal(encrypt(t, sealKey(t, to.Under(g)), blocks(1)), seals[g]) {
			t.Errorf("generation %d is another one over there", g)
		}
	}
	absent := m.Under(3)
	_, generateErr := absent.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	_, importErr := absent.Import(ctx, hsm.LevelHSM, hsm.SpecAES256, make([]byte, 32))
	_, sealErr := absent.Seal(ctx)
	_, macErr := absent.MAC(ctx, []byte("a record"))
	_, exportErr := absent.ExportRoots(ctx, s.stranger, s.OfficerPIN)
	for name, err := range map[string]error{"Generate": generateErr, "Import": importErr, "Seal": sealErr, "MAC": macErr, "ExportRoots": exportErr} {
		if !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("%s under a generation that is not here: %v", name, err)
		}
	}
}

// Material of every kind goes from one generation's roots to another's, and
// does the same there when the old ones are gone; a device lets it go only with
// the officer's leave, for as long as that was given.
func (s *suite) rootsRewrap(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	type kept struct {
		old, young hsm.Wrapped
		expect     []byte
	}
	var all []*kept
	for _, level := range levels {
		w, k := generate(t, m, level)
		all = append(all, &kept{old: w, expect: encrypt(t, k, blocks(2))})
	}
	var others []hsm.Wrapped // whose use is proved by that they load
	for _, spec := range []hsm.Spec{hsm.SpecECP256, hsm.SpecRSA2048, hsm.SpecHMAC256} {
		for _, level := range levels {
			if level == hsm.LevelHSM && !m.Describe().Carries(spec) {
				continue
			}
			w, err := m.Generate(ctx, level, spec)
			ok(t, err)
			others = append(others, w)
		}
	}
	ok(t, m.CreateRoots(ctx, home, 2))

	if s.OfficerPIN != nil {
		if _, err := m.Rewrap(ctx, all[0].old, 2); !errors.Is(err, hsm.ErrNotPermitted) {
			t.Errorf("without the officer: %v", err)
		}
		if err := m.PermitRewrap(ctx, []byte("not the PIN")); !errors.Is(err, hsm.ErrOfficerPIN) {
			t.Errorf("a wrong PIN: %v", err)
		}
	}
	ok(t, m.PermitRewrap(ctx, s.OfficerPIN))
	for _, k := range all {
		var err error
		k.young, err = m.Rewrap(ctx, k.old, 2)
		ok(t, err)
		if k.young.Generation != 2 || k.young.Level != k.old.Level || k.young.Spec != k.old.Spec || bytes.Equal(k.young.Blob, k.old.Blob) {
			t.Errorf("%+v became %+v", k.old, k.young)
		}
	}
	for i := range others {
		young, err := m.Rewrap(ctx, others[i], 2)
		ok(t, err)
		others[i] = young
	}
	broken := all[0].old
	broken.Blob = bytes.Clone(broken.Blob)
	broken.Blob[12] ^= 1
	if _, err := m.Rewrap(ctx, broken, 2); !errors.Is(err, hsm.ErrUnwrap) {
		t.Errorf("an altered blob: %v", err)
	}
	if _, err := m.Rewrap(ctx, all[0].old, 3); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("to roots that are not here: %v", err)
	}
	if _, err := m.Rewrap(ctx, all[0].young, 1); err != nil {
		t.Errorf("back again: %v", err)
	}
	ok(t, m.EndRewrap(ctx))
	if s.OfficerPIN != nil {
		if _, err := m.Rewrap(ctx, all[0].old, 2); !errors.Is(err, hsm.ErrNotPermitted) {
			t.Errorf("after the permission has ended: %v", err)
		}
	}
	if _, err := m.Rewrap(ctx, all[1].old, 2); err != nil {
		t.Errorf("SOFTWARE level without a permission: %v", err)
	}
	ok(t, m.DestroyRoots(ctx, home, 1))
	for i, k := range all {
		if !bytes.Equal(encrypt(t, load(t, m, k.young), blocks(2)), k.expect) {
			t.Errorf("key %d does something else under the other roots", i)
		}
		if _, err := m.Load(ctx, k.old); !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("key %d opens under roots that are gone: %v", i, err)
		}
	}
	for _, w := range others {
		key, err := m.Load(ctx, w)
		if err != nil {
			t.Errorf("%s at level %s: %v", w.Spec, w.Level, err)
			continue
		}
		ok(t, key.Close())
	}
}
