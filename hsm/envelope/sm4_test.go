package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// An envelope under an SM4 key says so, and opens under no AES key.
func TestGoldenSM4Envelope(t *testing.T) {
	ctx := context.Background()
	arena := locked.NewArena(64 << 10)
	loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: hsm.SpecSM4}, bytes.Repeat([]byte{1}, 16))
	if err != nil {
		t.Fatal(err)
	}
	key, err := envelope.NewSM4Key(ctx, loaded.(hsm.Key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(key.Close(), arena.Close()); err != nil {
			t.Error(err)
		}
	})
	f := envelope.Fields{Purpose: envelope.PurposeData, KeyID: goldenKeyID, KeyVersion: 7}
	about := stringContext(t, "tenant 7")
	sealed, err := envelope.SealWithNonce(ctx, nil, key, f, goldenNonce(), []byte("text"), about)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "sm4-data-string", sealed)
	stored := readHex(t, filepath.Join("testdata", "sm4-data-string.hex"))
	h, err := envelope.ParseHeader(stored)
	if err != nil || h.Algorithm != envelope.AlgorithmSM4GCM {
		t.Fatalf("header %+v, %v", h, err)
	}
	if opened, err := envelope.Open(ctx, key, h, stored, about); err != nil || string(opened) != "text" {
		t.Errorf("opens to %q, %v", opened, err)
	}
	for name, open := range map[string]func() error{
		"under an AES key": func() error { _, err := envelope.Open(ctx, newKey(t, 1), h, stored, about); return err },
		"another context":  func() error { _, err := envelope.Open(ctx, key, h, stored, envelope.NoContext()); return err },
		"another algorithm": func() error {
			altered := bytes.Clone(stored)
			altered[22] = byte(envelope.AlgorithmXAES256GCM)
			h, err := envelope.ParseHeader(altered)
			if err != nil {
				return err
			}
			_, err = envelope.Open(ctx, key, h, altered, about)
			return err
		},
	} {
		if err := open(); !errors.Is(err, envelope.ErrAuthentication) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
