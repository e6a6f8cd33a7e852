package envelope_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/locked"
)

// newKey is an envelope key of 32 times fill, in locked memory.
func newKey(t testing.TB, fill byte) *envelope.Key {
	t.Helper()
	arena := locked.NewArena(64 << 10)
	k, err := arena.NewKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := envelope.NewKey(context.Background(), k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(key.Close(), arena.Close()); err != nil {
			t.Error(err)
		}
	})
	return key
}

// referenceXAES is XAES-256-GCM written once more, straight from the table of
// its specification.
func referenceXAES(t *testing.T, key, nonce, plaintext, aad []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var l, k1 [16]byte
	block.Encrypt(l[:], l[:])
	for i := range l {
		k1[i] = l[i] << 1
		if i < 15 {
			k1[i] |= l[i+1] >> 7
		}
	}
	if l[0]&0x80 != 0 {
		k1[15] ^= 0x87
	}
	var derived []byte
	for _, prefix := range []string{"\x00\x01X\x00", "\x00\x02X\x00"} {
		m := append([]byte(prefix), nonce[:12]...)
		for i := range m {
			m[i] ^= k1[i]
		}
		block.Encrypt(m, m)
		derived = append(derived, m...)
	}
	inner, err := aes.NewCipher(derived)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(inner)
	if err != nil {
		t.Fatal(err)
	}
	return gcm.Seal(nil, nonce[12:], plaintext, aad)
}

func stringContext(t testing.TB, s string) envelope.Context {
	t.Helper()
	c, err := envelope.StringContext(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mapContext(t testing.TB, m map[string]string) envelope.Context {
	t.Helper()
	c, err := envelope.MapContext(m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drawFields, drawContext and drawPlaintext make what the format allows.
func drawFields(t *rapid.T) envelope.Fields {
	return envelope.Fields{
		Purpose:    rapid.SampledFrom([]envelope.Purpose{envelope.PurposeDataKey, envelope.PurposeData}).Draw(t, "purpose"),
		KeyID:      [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key id")),
		KeyVersion: rapid.Uint32().Draw(t, "key version"),
	}
}

func drawContext(t *rapid.T) envelope.Context {
	var c envelope.Context
	var err error
	switch rapid.IntRange(0, 2).Draw(t, "kind of context") {
	case 1:
		c, err = envelope.StringContext(rapid.StringN(1, 20, -1).Draw(t, "string"))
	case 2:
		c, err = envelope.MapContext(rapid.MapOfN(rapid.StringN(0, 4, -1), rapid.StringN(0, 4, -1), 1, 5).Draw(t, "map"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func drawPlaintext(t *rapid.T, p envelope.Purpose) []byte {
	largest := envelope.MaxData
	if p == envelope.PurposeDataKey {
		largest = envelope.MaxDataKey
	}
	// Mostly around the end of the padding, with the bytes that padding is made of.
	n := rapid.OneOf(rapid.IntRange(70, 85), rapid.IntRange(0, largest)).Draw(t, "length")
	return rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0x80, 0xff}), n, n).Draw(t, "plaintext")
}

func TestOpenIsTheInverseOfSeal(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	rapid.Check(t, func(t *rapid.T) {
		f, c := drawFields(t), drawContext(t)
		plaintext := drawPlaintext(t, f.Purpose)
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "prefix")
		sealed, err := envelope.AppendSeal(ctx, bytes.Clone(prefix), key, f, plaintext, c)
		if err != nil {
			t.Fatal(err)
		}
		sealed, found := bytes.CutPrefix(sealed, prefix)
		if !found {
			t.Fatal("AppendSeal lost what was there")
		}
		if len(sealed) < envelope.MinSize || len(sealed) > envelope.MaxSize || len(sealed) > max(141, 64+len(plaintext)) {
			t.Fatalf("%d bytes seal to %d", len(plaintext), len(sealed))
		}
		h, err := envelope.ParseHeader(sealed)
		if err != nil || h.Fields != f {
			t.Fatalf("header %+v, %v", h, err)
		}
		opened, err := envelope.AppendOpen(ctx, bytes.Clone(prefix), key, h, sealed, c)
		if err != nil || !bytes.Equal(opened, append(prefix, plaintext...)) {
			t.Fatalf("opens to %x, %v", opened, err)
		}
	})
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	f := envelope.Fields{Purpose: envelope.PurposeData, KeyID: goldenKeyID, KeyVersion: 1}
	c := mapContext(t, map[string]string{"a": "1"})
	sealed, err := envelope.Seal(ctx, key, f, []byte("plaintext"), c)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(sealed) {
		altered := bytes.Clone(sealed)
		altered[bit/8] ^= 1 << (bit % 8)
		h, err := envelope.ParseHeader(altered)
		if err == nil {
			// As a caller who believes the altered header and has the key.
			_, err = envelope.Open(ctx, key, h, altered, c)
			if !errors.Is(err, envelope.ErrAuthentication) {
				t.Errorf("bit %d: %v", bit, err)
			}
		} else if !errors.Is(err, envelope.ErrMalformed) || bit >= 8*envelope.HeaderSize {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
}

// Two keys of equal material cannot read each other's envelopes, and an
// envelope does not open as what the caller did not decide on.
func TestOtherHeadersAndContextsAreRefused(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	f := envelope.Fields{Purpose: envelope.PurposeData, KeyID: goldenKeyID, KeyVersion: 1}
	c := mapContext(t, map[string]string{"a": "bc"})
	sealed, err := envelope.Seal(ctx, key, f, []byte("plaintext"), c)
	if err != nil {
		t.Fatal(err)
	}
	h, err := envelope.ParseHeader(sealed)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(h *envelope.Header){
		"key id":  func(h *envelope.Header) { h.KeyID[0] ^= 1 },
		"version": func(h *envelope.Header) { h.KeyVersion++ },
		"purpose": func(h *envelope.Header) { h.Purpose = envelope.PurposeDataKey },
		"nonce":   func(h *envelope.Header) { h.Nonce[23] ^= 1 },
	} {
		other := h
		change(&other)
		if _, err := envelope.Open(ctx, key, other, sealed, c); !errors.Is(err, envelope.ErrAuthentication) {
			t.Errorf("opening with another %s in mind: %v", name, err)
		}
	}
	for name, other := range map[string]envelope.Context{
		"none":    envelope.NoContext(),
		"shifted": mapContext(t, map[string]string{"ab": "c"}),
		"more":    mapContext(t, map[string]string{"a": "bc", "b": ""}),
		"string":  stringContext(t, "\x00\x00\x00\x01\x00\x00\x00\x01a\x00\x00\x00\x02bc"),
	} {
		if _, err := envelope.Open(ctx, key, h, sealed, other); !errors.Is(err, envelope.ErrAuthentication) {
			t.Errorf("context %s: %v", name, err)
		}
	}
	if _, err := envelope.Open(ctx, newKey(t, 2), h, sealed, c); !errors.Is(err, envelope.ErrAuthentication) {
		t.Errorf("another key: %v", err)
	}
}

func TestNoncesDiffer(t *testing.T) {
	key := newKey(t, 1)
	seen := make(map[[24]byte]bool)
	for range 100 {
		sealed, err := envelope.Seal(context.Background(), key, envelope.Fields{Purpose: envelope.PurposeData}, nil, envelope.NoContext())
		if err != nil {
			t.Fatal(err)
		}
		h, err := envelope.ParseHeader(sealed)
		if err != nil || seen[h.Nonce] {
			t.Fatalf("nonce %x came twice, or %v", h.Nonce, err)
		}
		seen[h.Nonce] = true
	}
}

func TestSizes(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	for _, c := range []struct {
		purpose  envelope.Purpose
		n, total int
	}{
		{envelope.PurposeData, 0, 141},
		{envelope.PurposeDataKey, 32, 141},
		{envelope.PurposeData, 77, 141},
		{envelope.PurposeData, 78, 142},
		{envelope.PurposeDataKey, envelope.MaxDataKey, 1088},
		{envelope.PurposeData, envelope.MaxData, 4160},
	} {
		sealed, err := envelope.Seal(ctx, key, envelope.Fields{Purpose: c.purpose}, make([]byte, c.n), envelope.NoContext())
		if err != nil || len(sealed) != c.total {
			t.Errorf("%d bytes seal to %d, %v", c.n, len(sealed), err)
		}
	}
	if n := base64.StdEncoding.EncodedLen(envelope.MinSize); n != 188 {
		t.Errorf("the smallest envelope has %d characters", n)
	}
	for p, n := range map[envelope.Purpose]int{envelope.PurposeDataKey: envelope.MaxDataKey + 1, envelope.PurposeData: envelope.MaxData + 1} {
		if _, err := envelope.Seal(ctx, key, envelope.Fields{Purpose: p}, make([]byte, n), envelope.NoContext()); !errors.Is(err, envelope.ErrTooLong) {
			t.Errorf("purpose %d, %d bytes: %v", p, n, err)
		}
	}
	for _, p := range []envelope.Purpose{0, 3} {
		if _, err := envelope.Seal(ctx, key, envelope.Fields{Purpose: p}, nil, envelope.NoContext()); err == nil {
			t.Errorf("purpose %d was sealed", p)
		}
	}
}

// Paddings that are longer or shorter than they must be, sealed by someone who
// has the key.
func TestOnlyTheCanonicalPaddingOpens(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	nonce := goldenNonce()
	f := envelope.Fields{Purpose: envelope.PurposeData, KeyID: goldenKeyID, KeyVersion: 1}
	sealed, err := envelope.SealWithNonce(ctx, nil, key, f, nonce, nil, envelope.NoContext())
	if err != nil {
		t.Fatal(err)
	}
	header := sealed[:envelope.HeaderSize]
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	for name, c := range map[string]struct {
		padded string
		good   bool
	}{
		"shortest":               {"abc\x80" + zeros(74), true},
		"none needed":            {strings.Repeat("a", 100) + "\x80", true},
		"zeros where none fit":   {strings.Repeat("a", 100) + "\x80\x00", false},
		"one zero too many":      {strings.Repeat("a", 77) + "\x80\x00", false},
		"no mark":                {strings.Repeat("a", 78), false},
		"all zeros":              {zeros(78), false},
		"something behind":       {"abc\x80" + zeros(73) + "\x01", false},
		"mark of another colour": {"abc\x81" + zeros(74), false},
	} {
		b := append(bytes.Clone(header), referenceXAES(t, bytes.Repeat([]byte{1}, 32), nonce[:], []byte(c.padded), append(bytes.Clone(header), 0))...)
		h, err := envelope.ParseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = envelope.Open(ctx, key, h, b, envelope.NoContext())
		if c.good != (err == nil) || err != nil && !errors.Is(err, envelope.ErrAuthentication) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContexts(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	seal := func(c envelope.Context) string {
		sealed, err := envelope.SealWithNonce(ctx, nil, key, envelope.Fields{Purpose: envelope.PurposeData}, goldenNonce(), nil, c)
		if err != nil {
			t.Fatal(err)
		}
		return string(sealed)
	}
	large := make(map[string]string)
	for i := range 100 {
		large[string(rune('a'+i%26))+strings.Repeat("x", i)] = "v"
	}
	if seal(mapContext(t, large)) != seal(mapContext(t, maps.Clone(large))) {
		t.Error("the order of a map shows")
	}
	none := seal(envelope.NoContext())
	if seal(stringContext(t, "")) != none || seal(mapContext(t, nil)) != none || seal(envelope.Context{}) != none {
		t.Error("an empty context is not the same as none")
	}
	if seal(mapContext(t, map[string]string{"": ""})) == none {
		t.Error("a map with an empty entry is the same as none")
	}

	stringContext(t, strings.Repeat("s", envelope.MaxContext-4))
	if _, err := envelope.StringContext(strings.Repeat("s", envelope.MaxContext-3)); !errors.Is(err, envelope.ErrTooLong) {
		t.Errorf("a string that is one byte too long: %v", err)
	}
	mapContext(t, map[string]string{"k": strings.Repeat("v", envelope.MaxContext-13)})
	if _, err := envelope.MapContext(map[string]string{"k": strings.Repeat("v", envelope.MaxContext-12)}); !errors.Is(err, envelope.ErrTooLong) {
		t.Errorf("a map that is one byte too long: %v", err)
	}
}

func TestCloseBesideCalls(t *testing.T) {
	ctx := context.Background()
	key := newKey(t, 1)
	f := envelope.Fields{Purpose: envelope.PurposeData, KeyID: goldenKeyID, KeyVersion: 1}
	want, err := envelope.SealWithNonce(ctx, nil, key, f, goldenNonce(), nil, envelope.NoContext())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	started := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for first := true; ; first = false {
				got, err := envelope.SealWithNonce(ctx, nil, key, f, goldenNonce(), nil, envelope.NoContext())
				if first {
					started <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, locked.ErrClosed) {
						t.Error(err)
					}
					return
				}
				if !bytes.Equal(got, want) {
					t.Error("wrong output beside Close")
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	if err := key.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func BenchmarkSeal(b *testing.B) {
	key := newKey(b, 1)
	f := envelope.Fields{Purpose: envelope.PurposeDataKey, KeyID: goldenKeyID, KeyVersion: 1}
	c := mapContext(b, map[string]string{"table": "users"})
	plaintext := make([]byte, 32)
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := envelope.AppendSeal(context.Background(), dst, key, f, plaintext, c); err != nil {
			b.Fatal(err)
		}
	}
}
