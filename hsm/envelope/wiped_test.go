package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/locked"
)

// watched is a key that counts its calls, and remembers where the last one wrote.
type watched struct {
	hsm.Key
	calls   int
	derived []byte
	failure error
}

func (k *watched) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	k.calls++
	k.derived = dst
	return errors.Join(k.Key.EncryptBlocks(ctx, dst, src), k.failure)
}

// One-time keys live in memory that serves other messages afterwards, so they
// must be gone whatever the outcome was.
func TestOneTimeKeysAreWiped(t *testing.T) {
	ctx := context.Background()
	arena := locked.NewArena(64 << 10)
	raw, err := arena.NewKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{Key: raw}
	key, err := envelope.NewKey(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(key.Close(), arena.Close()); err != nil {
			t.Error(err)
		}
	})
	fields, none := envelope.Fields{Purpose: envelope.PurposeData}, envelope.NoContext()
	sealed, err := envelope.Seal(ctx, key, fields, []byte("plaintext"), none)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := envelope.SealSecret(ctx, key, 1, []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := envelope.ParseHeader(sealed)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	forged := bytes.Clone(sealed)
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		failure, expect error
		do              func() error
	}{
		"seal":        {nil, nil, func() error { _, err := envelope.Seal(ctx, key, fields, nil, none); return err }},
		"open":        {nil, nil, func() error { _, err := envelope.Open(ctx, key, h, sealed, none); return err }},
		"forged":      {nil, envelope.ErrAuthentication, func() error { _, err := envelope.Open(ctx, key, h, forged, none); return err }},
		"seal secret": {nil, nil, func() error { _, err := envelope.SealSecret(ctx, key, 1, nil, nil); return err }},
		"open secret": {nil, nil, func() error { _, err := envelope.OpenSecret(ctx, key, secret, nil); return err }},
		"broken seal": {broken, broken, func() error { _, err := envelope.Seal(ctx, key, fields, nil, none); return err }},
		"broken open": {broken, broken, func() error { _, err := envelope.Open(ctx, key, h, sealed, none); return err }},
	} {
		w.failure, w.derived = c.failure, nil
		if err := c.do(); !errors.Is(err, c.expect) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(w.derived, make([]byte, 32)) {
			t.Errorf("%s: left %x", name, w.derived)
		}
	}
}
