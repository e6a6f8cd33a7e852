package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// Every one of many envelopes opens by itself, has a nonce of its own, and they
// share calls of the key.
func TestSealMany(t *testing.T) {
	ctx := t.Context()
	arena := locked.NewArena(64 << 10)
	defer arena.Close()
	load := func(spec hsm.Spec, size int) *watched {
		t.Helper()
		loaded, err := softkey.Load(arena, hsm.Wrapped{Spec: spec}, bytes.Repeat([]byte{1}, size))
		if err != nil {
			t.Fatal(err)
		}
		return &watched{Key: loaded.(hsm.Key)}
	}
	fields := envelope.Fields{Purpose: envelope.PurposeDataKey, KeyID: goldenKeyID, KeyVersion: 7}
	about := stringContext(t, "tenant 7")
	f := func(below *watched, make func(context.Context, hsm.Key) (*envelope.Key, error), count, size, calls int) {
		t.Helper()
		key, err := make(ctx, below)
		if err != nil {
			t.Fatal(err)
		}
		below.calls = 0
		plaintexts := bytes.Repeat([]byte("raftkms!"), (count*size+7)/8)[:count*size]
		sealed, err := envelope.AppendSealMany(ctx, []byte("before"), key, fields, plaintexts, size, about)
		if err != nil || !bytes.HasPrefix(sealed, []byte("before")) {
			t.Fatalf("%d of %d bytes: %v", count, size, err)
		}
		if below.calls != calls {
			t.Errorf("%d of %d bytes: %d calls of the key, want %d", count, size, below.calls, calls)
		}
		if bytes.Count(below.derived[:cap(below.derived)], []byte{0}) != cap(below.derived) {
			t.Error("keys of messages are left in memory")
		}
		sealed = sealed[len("before"):]
		each := envelope.SealedSize(size)
		if len(sealed) != count*each {
			t.Fatalf("%d bytes, want %d of %d", len(sealed), count, each)
		}
		nonces := map[[24]byte]bool{}
		for i := range count {
			one := sealed[i*each : (i+1)*each]
			h, err := envelope.ParseHeader(one)
			if err != nil {
				t.Fatal(err)
			}
			nonces[h.Nonce] = true
			opened, err := envelope.Open(ctx, key, h, one, about)
			if err != nil || !bytes.Equal(opened, plaintexts[i*size:(i+1)*size]) {
				t.Fatalf("envelope %d opens to %x, %v", i, opened, err)
			}
			if _, err := envelope.Open(ctx, key, h, one, envelope.NoContext()); !errors.Is(err, envelope.ErrAuthentication) {
				t.Fatalf("envelope %d without its context: %v", i, err)
			}
		}
		if len(nonces) != count {
			t.Errorf("%d nonces for %d envelopes", len(nonces), count)
		}
		below.failure = errors.New("broken")
		if sealed, err := envelope.AppendSealMany(ctx, nil, key, fields, plaintexts, size, about); !errors.Is(err, below.failure) || sealed != nil {
			t.Errorf("a key that fails: %d bytes, %v", len(sealed), err)
		}
		if bytes.Count(below.derived[:cap(below.derived)], []byte{0}) != cap(below.derived) {
			t.Error("keys of messages are left in memory after a failure")
		}
	}
	f(load(hsm.SpecAES256, 32), envelope.NewKey, 1, 1, 1)
	f(load(hsm.SpecAES256, 32), envelope.NewKey, 128, 32, 1)
	f(load(hsm.SpecAES256, 32), envelope.NewKey, 1000, 64, 8)
	f(load(hsm.SpecAES256, 32), envelope.NewKey, 3, 1024, 1)
	f(load(hsm.SpecSM4, 16), envelope.NewSM4Key, 1, 16, 1)
	f(load(hsm.SpecSM4, 16), envelope.NewSM4Key, 300, 16, 3)
}

func TestSealManyRefuses(t *testing.T) {
	key := newKey(t, 1)
	f := func(purpose envelope.Purpose, bytes, size int) {
		t.Helper()
		if _, err := envelope.AppendSealMany(t.Context(), nil, key, envelope.Fields{Purpose: purpose}, make([]byte, bytes), size, envelope.NoContext()); err == nil {
			t.Errorf("purpose %d, %d bytes, %d each: sealed", purpose, bytes, size)
		}
	}
	f(envelope.PurposeDataKey, 64, 0)
	f(envelope.PurposeDataKey, 64, 33)
	f(envelope.PurposeDataKey, 2050, 1025)
	f(9, 64, 32)
}

func BenchmarkSealMany(b *testing.B) {
	key := newKey(b, 1)
	plaintexts := make([]byte, 1000*32)
	dst := make([]byte, 0, 1000*envelope.SealedSize(32))
	fields := envelope.Fields{Purpose: envelope.PurposeDataKey}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.AppendSealMany(b.Context(), dst, key, fields, plaintexts, 32, envelope.NoContext()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/key")
}
