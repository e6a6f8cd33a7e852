package locked_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
)

var _ hsm.Key = (*locked.Key)(nil)

func newKey(t *testing.T, a *locked.Arena, fill byte) *locked.Key {
	t.Helper()
	k, err := a.NewKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newArena(t *testing.T, limit int) *locked.Arena {
	t.Helper()
	a := locked.NewArena(limit)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("closing the arena: %v", err)
		}
	})
	return a
}

func want(t *testing.T, fill byte, src []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, len(src))
	for at := 0; at < len(src); at += 16 {
		block.Encrypt(dst[at:at+16], src[at:at+16])
	}
	return dst
}

func TestKeyEncryptsAsAES(t *testing.T) {
	a := newArena(t, 1<<20)
	ctx := context.Background()
	keys := make([]*locked.Key, 100)
	for i := range keys {
		keys[i] = newKey(t, a, byte(i))
	}
	runtime.GC() // the schedules must not depend on anything the collector owns
	src := make([]byte, 16*5)
	for i := range src {
		src[i] = byte(i)
	}
	for i, k := range keys {
		dst := make([]byte, len(src))
		if err := k.EncryptBlocks(ctx, dst, src); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dst, want(t, byte(i), src)) {
			t.Fatalf("key %d encrypts differently from crypto/aes", i)
		}
	}
	inPlace := bytes.Clone(src)
	if err := keys[7].EncryptBlocks(ctx, inPlace, inPlace); err != nil || !bytes.Equal(inPlace, want(t, 7, src)) {
		t.Fatalf("encrypting in place: %v", err)
	}
}

func TestKeyWipesItsInput(t *testing.T) {
	a := newArena(t, 1<<20)
	raw := bytes.Repeat([]byte{9}, 32)
	if _, err := a.NewKey(raw); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, make([]byte, 32)) {
		t.Error("the raw key is still in the caller's slice")
	}
	short := bytes.Repeat([]byte{9}, 31)
	if _, err := a.NewKey(short); err == nil {
		t.Error("31 bytes made a key")
	}
	if !bytes.Equal(short, make([]byte, 31)) {
		t.Error("a refused raw key is still in the caller's slice")
	}
}

func TestKeyRefusesWrongLengths(t *testing.T) {
	a := newArena(t, 1<<20)
	k := newKey(t, a, 1)
	for _, size := range [][2]int{{0, 0}, {15, 15}, {17, 17}, {32, 16}, {16, 32}, {16 * (locked.MaxBlocks + 1), 16 * (locked.MaxBlocks + 1)}} {
		if err := k.EncryptBlocks(context.Background(), make([]byte, size[0]), make([]byte, size[1])); err == nil {
			t.Errorf("room %d, input %d: accepted", size[0], size[1])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context gave %v", err)
	}
}

// Close against calls in flight: each call is right or refused, never wrong.
func TestKeyClosesUnderLoad(t *testing.T) {
	a := newArena(t, 1<<20)
	src := make([]byte, 16*64)
	expect := want(t, 5, src)
	for range 20 {
		k := newKey(t, a, 5)
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			wg.Go(func() {
				dst := make([]byte, len(src))
				for first := true; ; first = false {
					err := k.EncryptBlocks(context.Background(), dst, src)
					if first {
						started <- struct{}{}
					}
					if errors.Is(err, locked.ErrClosed) {
						return
					}
					if err != nil || !bytes.Equal(dst, expect) {
						t.Errorf("a call beside Close: error %v, right output %v", err, bytes.Equal(dst, expect))
						return
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		newKey(t, a, 6) // takes the slot that was given back
		wg.Wait()
		if err := k.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestArenaCloseShutsKeys(t *testing.T) {
	a := locked.NewArena(1 << 20)
	keys := make([]*locked.Key, 50)
	for i := range keys {
		keys[i] = newKey(t, a, byte(i))
	}
	var wg sync.WaitGroup
	for _, k := range keys {
		wg.Go(func() {
			dst := make([]byte, 16)
			for {
				if err := k.EncryptBlocks(context.Background(), dst, make([]byte, 16)); err != nil {
					if !errors.Is(err, locked.ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	wg.Go(func() { // and against keys being made and closed
		for {
			k, err := a.NewKey(make([]byte, 32))
			if errors.Is(err, locked.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}
