package pkcs11_test

import (
	"errors"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// A token without AES-KWP wraps padded material, at every level and for every
// spec, says so, and does not open what a token with it has wrapped.
func TestKeyWrapOfPaddedMaterial(t *testing.T) {
	ctx := testContext(t)
	cfg, d := faultyToken(t)
	padding, err := pkcs11.Open(ctx, cfg)
	ok(t, err)
	ok(t, padding.CreateRoots(ctx, home, 1))
	foreign, err := padding.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	ok(t, err)
	ok(t, padding.Close())

	d.Hide(p11.CKM_AES_KEY_WRAP_PAD)
	m := open(t, cfg)
	if _, err := m.OpenRoots(ctx, home); err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(m.Describe().Notes, " "); !strings.Contains(notes, "CKM_AES_KEY_WRAP on padded material") {
		t.Errorf("notes %q", notes)
	}
	if _, err := m.Load(ctx, foreign); !errors.Is(err, hsm.ErrUnwrap) {
		t.Errorf("what was wrapped with RFC 5649: %v", err)
	}
	work(t, m).works()
	for _, spec := range hsm.Specs() {
		for _, level := range []hsm.Level{hsm.LevelSoftware, hsm.LevelHSM} {
			if level == hsm.LevelHSM && !m.Describe().Carries(spec) || spec.Family() == hsm.FamilyRSA && spec != hsm.SpecRSA2048 {
				continue
			}
			w, err := m.Generate(ctx, level, spec)
			if err == nil {
				var k hsm.Loaded
				if k, err = m.Load(ctx, w); err == nil {
					err = k.Close()
				}
			}
			if err != nil {
				t.Errorf("%v %s: %v", level, spec, err)
			}
		}
	}

	d.Hide(p11.CKM_AES_KEY_WRAP_PAD, p11.CKM_AES_KEY_WRAP)
	ok(t, m.Close())
	if r := pkcs11.Diagnose(ctx, cfg); r.Carries() || !strings.Contains(r.Problems[0], "no AES key wrapping") {
		t.Errorf("without any key wrapping: %q", r.Problems)
	}
}

// CKR_GENERAL_ERROR says that a blob is bad only where the device unwraps
// others: a good key must not be called damaged while its device is in trouble.
func TestGeneralErrorAtUnwrap(t *testing.T) {
	ctx := testContext(t)
	m, d := dying(t, nil)
	w, err := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	ok(t, err)
	load := func() error {
		k, err := m.Load(ctx, w)
		if err == nil {
			err = k.Close()
		}
		return err
	}
	d.Fail(faultylib.UnwrapKey, p11.CKR_GENERAL_ERROR, 1)
	if err := load(); err != nil {
		t.Errorf("after one CKR_GENERAL_ERROR: %v", err)
	}
	d.Fail(faultylib.UnwrapKey, p11.CKR_GENERAL_ERROR, 1000)
	if err := load(); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrUnwrap) {
		t.Errorf("a device that unwraps nothing: %v", err)
	}
	d.Heal()
	awaitBack(t, m)
	if err := load(); err != nil {
		t.Errorf("once it unwraps again: %v", err)
	}
	w.Blob[20] ^= 1
	if err := load(); !errors.Is(err, hsm.ErrUnwrap) || errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a bad blob: %v", err)
	}
}
