package envelope_test

import (
	"context"
	"errors"
	"testing"

	"github.com/raftkms/raftkms/hsm/envelope"
)

// Whatever the network sends: no panic, one of two errors, and nothing opens
// that was not sealed under this key.
func FuzzOpen(f *testing.F) {
	ctx := context.Background()
	key, stranger := newKey(f, 1), newKey(f, 2)
	for _, n := range []int{0, 32, 77, 78, 500} {
		sealed, err := envelope.Seal(ctx, stranger, envelope.Fields{Purpose: envelope.PurposeData, KeyVersion: 1}, make([]byte, n), envelope.NoContext())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
		f.Add(sealed[:len(sealed)/2])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := envelope.ParseHeader(b)
		if err != nil {
			if !errors.Is(err, envelope.ErrMalformed) {
				t.Fatal(err)
			}
			if _, err := envelope.Open(ctx, key, h, b, envelope.NoContext()); !errors.Is(err, envelope.ErrMalformed) {
				t.Fatalf("ParseHeader refuses it, Open says %v", err)
			}
			return
		}
		if len(b) < envelope.MinSize || len(b) > envelope.MaxSize {
			t.Fatalf("%d bytes were accepted", len(b))
		}
		if _, err := envelope.Open(ctx, key, h, b, envelope.NoContext()); !errors.Is(err, envelope.ErrAuthentication) {
			t.Fatalf("opens, or %v", err)
		}
	})
}

func FuzzOpenSecret(f *testing.F) {
	ctx := context.Background()
	key, stranger := newKey(f, 1), newKey(f, 2)
	sealed, err := envelope.SealSecret(ctx, stranger, 1, []byte("secret"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := envelope.OpenSecret(ctx, key, b, nil)
		if !errors.Is(err, envelope.ErrAuthentication) && !errors.Is(err, envelope.ErrMalformed) {
			t.Fatalf("opens, or %v", err)
		}
	})
}
