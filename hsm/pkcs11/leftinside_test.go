package pkcs11_test

import (
	"errors"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// A module that is closed while a call hangs in the device leaves it the memory
// that the device will write into when it wakes; a later Close frees it.
func TestCloseLeavesTheMemoryOfACallThatHangs(t *testing.T) {
	ctx := testContext(t)
	cfg := newToken(t)
	d, err := faultylib.New(t.TempDir(), cfg.Library)
	ok(t, err)
	cfg.Library, cfg.CallTimeout = d.Path, 200*time.Millisecond
	m, err := pkcs11.Open(ctx, cfg)
	ok(t, err)
	ok(t, m.CreateRoots(ctx, home, 1))
	w, err := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	ok(t, err)
	loaded, err := hsm.LoadKey(ctx, m, w)
	ok(t, err)

	d.Hang(faultylib.GetAttributeValue)
	woken := make(chan error, 1)
	go func() {
		k, err := m.Load(ctx, w)
		if err == nil {
			err = errors.Join(errors.New("a closed module loaded a key"), k.Close())
		} else if !errors.Is(err, hsm.ErrUnavailable) {
			err = nil
		}
		woken <- err
	}()
	for d.Inside() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := m.Close(); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("closing while a call hangs: %v", err)
	}
	if err := loaded.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); err == nil {
		t.Error("a key of a closed module encrypts")
	}
	d.Release()
	ok(t, <-woken)
	ok(t, m.Close())
	ok(t, m.Close())
	ok(t, d.Close())
}
