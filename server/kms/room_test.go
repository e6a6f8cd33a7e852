package kms_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/hsm/soft"
	"github.com/raftkms/raftkms/server/kms"
)

const roomOfficerPIN = "officer-1234"

// deviceOfRoom is a module over a device that the test can limit.
func deviceOfRoom(t *testing.T) (*pkcs11.Module, *faultylib.Device) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	env, err := pkcs11.CreateSoftHSMToken(t.TempDir(), "room", []byte(roomOfficerPIN), []byte("user-5678"))
	must(err)
	for name, value := range env {
		t.Setenv(name, value)
	}
	target, err := pkcs11.FindSoftHSM()
	must(err)
	d, err := faultylib.New(t.TempDir(), target)
	must(err)
	m, err := pkcs11.Open(t.Context(), pkcs11.Config{
		Library: d.Path, TokenLabel: "room", Sessions: 4, PIN: func() ([]byte, error) { return []byte("user-5678"), nil },
	})
	must(err)
	t.Cleanup(func() {
		d.Heal()
		must(m.Close())
		must(d.Close())
	})
	return m, d
}

// A device that is full stays of use for everything: whatever needs room takes
// it from keys that nobody uses.
func TestAFullDeviceDoesEverything(t *testing.T) {
	module, device := deviceOfRoom(t)
	w := newWorldOver(t, module, 100)
	w.replica.now = time.Now().UnixMilli() // import tokens live by the clock
	made := func(name, spec, usage, origin string) (key *state.Key) {
		t.Helper()
		if err := w.call(kms.OpCreateKey, func(ctx context.Context, c *kms.Call) (err error) {
			key, err = w.service.CreateKey(ctx, c, kms.CreateKeyRequest{Name: name, Spec: spec, Usage: usage, Origin: origin})
			return err
		}); err != nil {
			t.Fatalf("creating %s: %v", name, err)
		}
		return key
	}
	encrypt := func(key *state.Key) {
		t.Helper()
		if err := w.call(kms.OpEncryptData, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.EncryptData(ctx, c, kms.EncryptRequest{Key: key.ID, Plaintext: []byte("x")})
			return err
		}); err != nil {
			t.Errorf("encrypting with %s: %v", key.Name, err)
		}
	}
	room := device.Objects() + 4
	device.Limit(int(room))
	var keys []*state.Key
	for i := range 9 {
		keys = append(keys, made(fmt.Sprintf("key%d", i), "", "", ""))
		encrypt(keys[i])
	}
	full := func() {
		t.Helper()
		for _, key := range keys {
			encrypt(key)
		}
		if n := device.Objects(); n != room {
			t.Fatalf("%d objects are in the device, which has room for %d", n, room)
		}
	}

	full()
	agreeing := made("agreeing", string(hsm.SpecECP256), kms.UsageKeyAgreement, "")
	version, ok := w.replica.Root().Version(agreeing.ID, 1)
	if !ok {
		t.Fatal("the pair has no version")
	}
	agree := func() error {
		return w.call(kms.OpDeriveSharedSecret, func(ctx context.Context, c *kms.Call) error {
			_, secret, err := w.service.DeriveSharedSecret(ctx, c, agreeing.ID, 0, version.PublicKey)
			clear(secret)
			return err
		})
	}
	full()
	if err := agree(); err != nil {
		t.Errorf("agreeing on a full device: %v", err)
	}

	external := made("external", "", "", kms.OriginExternal)
	full()
	var parameters *kms.ImportParameters
	if err := w.call(kms.OpGetParametersForImport, func(ctx context.Context, c *kms.Call) (err error) {
		parameters, err = w.service.GetParametersForImport(ctx, c, external.ID, kms.WrapOAEPSHA256)
		return err
	}); err != nil {
		t.Fatalf("parameters for an import on a full device: %v", err)
	}
	material, err := wrapping.Secret(kms.WrapOAEPSHA256, parameters.PublicKey, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	full()
	if err := w.call(kms.OpImportKeyMaterial, func(ctx context.Context, c *kms.Call) error {
		return w.service.ImportKeyMaterial(ctx, c, kms.ImportRequest{Key: external.ID, Token: parameters.Token, Material: material.Material})
	}); err != nil {
		t.Errorf("importing on a full device: %v", err)
	}
	encrypt(external)

	// What was loaded before a loss has to be loaded again, and meanwhile others
	// have taken the room.
	full()
	if err := agree(); err != nil {
		t.Errorf("agreeing on a full device: %v", err)
	}
	device.LoseSessions()
	for range 2 {
		full()
		if err := agree(); err != nil {
			t.Errorf("agreeing on a full device after a loss: %v", err)
		}
	}

	device.Limit(0)
	if err := module.CreateRoots(t.Context(), hsm.ClusterID(uuid.MustParse(fsmtest.ClusterID)), 2); err != nil {
		t.Fatal(err)
	}
	if err := module.PermitRewrap(t.Context(), []byte(roomOfficerPIN)); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys[:4] {
		encrypt(key)
	}
	device.Limit(int(device.Objects()))
	for _, key := range keys {
		version, ok := w.replica.Root().Version(key.ID, 1)
		if !ok {
			t.Fatal("a key has no version")
		}
		encrypt(key)
		if _, _, err := w.service.RewrapVersion(t.Context(), key, version, 2); err != nil {
			t.Errorf("putting %s under new roots on a full device: %v", key.Name, err)
		}
	}
	if took := device.Objects(); took > room+8 {
		t.Errorf("%d objects are left in the device", took)
	}
}

// A key whose material does not fit into the locked memory any more takes the
// place of one that nobody uses.
func TestFullLockedMemory(t *testing.T) {
	dir := t.TempDir()
	module, err := soft.Open(t.Context(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
		LockedMemory: 64 << 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { module.Close() })
	w := newWorldOver(t, module, 1000)
	const keys = 99 // of 512 bytes each, and there is room for about 60
	sealed := make(map[string][]byte)
	for i := range keys {
		key := w.createKey(fmt.Sprintf("key%d", i)).ID
		made, err := w.encrypt(key, []byte("x"), envelope.NoContext())
		if err != nil {
			t.Fatalf("encrypting with key %d: %v", i, err)
		}
		sealed[key] = made.Ciphertext
	}
	if n := w.service.LoadedKeys(); n >= keys {
		t.Fatalf("%d keys are loaded: the memory was never full", n)
	}
	for key, ciphertext := range sealed {
		if opened, err := w.decrypt(key, ciphertext, envelope.NoContext()); err != nil || string(opened.Plaintext) != "x" {
			t.Fatalf("decrypting: %v", err)
		}
	}
}
