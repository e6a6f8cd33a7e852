package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
)

func TestSecretRoundTrip(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		generation := hsm.RootGeneration(rapid.Uint32().Draw(t, "generation"))
		secret := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "secret")
		label := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "label")
		sealed, err := envelope.SealSecret(ctx, key, generation, secret, label)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := envelope.SecretGeneration(sealed); err != nil || g != generation {
			t.Fatalf("generation %d, %v", g, err)
		}
		opened, err := envelope.OpenSecret(ctx, key, sealed, label)
		if err != nil || !bytes.Equal(opened, secret) {
			t.Fatalf("opens to %x, %v", opened, err)
		}
		if _, err := envelope.OpenSecret(ctx, key, sealed, append(label, 0)); !errors.Is(err, envelope.ErrAuthentication) {
			t.Fatalf("another label: %v", err)
		}
		bit := rapid.IntRange(0, 8*len(sealed)-1).Draw(t, "bit")
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := envelope.OpenSecret(ctx, key, sealed, label); !errors.Is(err, envelope.ErrAuthentication) && !(bit < 8 && errors.Is(err, envelope.ErrMalformed)) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	})
}

func TestSecretBounds(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	sealed, err := envelope.SealSecret(ctx, key, 1, make([]byte, envelope.MaxSecret), make([]byte, envelope.MaxLabel))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envelope.OpenSecret(ctx, key, sealed, make([]byte, envelope.MaxLabel)); err != nil {
		t.Error(err)
	}
	if _, err := envelope.SealSecret(ctx, key, 1, make([]byte, envelope.MaxSecret+1), nil); !errors.Is(err, envelope.ErrTooLong) {
		t.Errorf("a secret that is too long: %v", err)
	}
	if _, err := envelope.SealSecret(ctx, key, 1, nil, make([]byte, envelope.MaxLabel+1)); !errors.Is(err, envelope.ErrTooLong) {
		t.Errorf("a label that is too long: %v", err)
	}
	for _, n := range []int{0, 1, 44, len(sealed) + 1} {
		if _, err := envelope.OpenSecret(ctx, key, append(bytes.Clone(sealed), 0)[:n], nil); !errors.Is(err, envelope.ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// A sealed secret and an envelope under one key are never taken for each other.
func TestSecretIsNoEnvelope(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	sealed, err := envelope.Seal(ctx, key, envelope.Fields{Purpose: envelope.PurposeData}, nil, envelope.NoContext())
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range [][]byte{nil, {0}, sealed[29:envelope.HeaderSize]} {
		if _, err := envelope.OpenSecret(ctx, key, sealed, label); !errors.Is(err, envelope.ErrAuthentication) {
			t.Errorf("an envelope opened as a secret: %v", err)
		}
	}
}
