package hsmtest

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

func (s *suite) keyRestart(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			ctx := testContext(t)
			m := s.rooted(t)
			w, k := generate(t, m, level)
			if w.Level != level || w.Spec != hsm.SpecAES256 || w.Generation != 1 || len(w.Blob) != 40 {
				t.Errorf("wrapped as level %v, spec %q, generation %d, %d bytes", w.Level, w.Spec, w.Generation, len(w.Blob))
			}
			other, otherKey := generate(t, m, level)
			if bytes.Equal(w.Blob, other.Blob) {
				t.Error("two keys have one blob")
			}
			src := blocks(4)
			expect := encrypt(t, k, src)
			if bytes.Equal(expect, encrypt(t, otherKey, src)) {
				t.Error("two keys encrypt alike")
			}
			m = s.restart(t, m)
			if !bytes.Equal(encrypt(t, load(t, m, w), src), expect) {
				t.Error("the key is another one after a restart")
			}
			if err := k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); err == nil {
				t.Error("a key of the closed module still works")
			}
		})
	}
}

func (s *suite) keyBlocks(t *testing.T) {
	m := s.rooted(t)
	most := m.Describe().MaxBlocks
	keys := map[string]hsm.Key{"seal": sealKey(t, m)}
	for _, level := range levels {
		_, keys[level.String()] = generate(t, m, level)
	}
	for name, k := range keys {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{2, 3, 64, most} {
				src := blocks(n)
				dst := encrypt(t, k, src)
				for _, i := range []int{0, 1, n / 2, n - 1} {
					if !bytes.Equal(encrypt(t, k, src[16*i:16*i+16]), dst[16*i:16*i+16]) {
						t.Errorf("%d blocks: block %d is not the same alone", n, i)
					}
				}
				inPlace := bytes.Clone(src)
				ok(t, k.EncryptBlocks(testContext(t), inPlace, inPlace))
				if !bytes.Equal(inPlace, dst) {
					t.Errorf("%d blocks: another output in place", n)
				}
			}
			twins := append(blocks(1), blocks(1)...)
			if dst := encrypt(t, k, twins); !bytes.Equal(dst[:16], dst[16:]) {
				t.Error("equal blocks encrypt differently: they are chained")
			}
		})
	}
}

func (s *suite) keyRefusals(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			w, k := generate(t, m, level)
			expect := encrypt(t, k, blocks(1))

			for _, size := range [][2]int{{0, 0}, {1, 1}, {15, 15}, {17, 17}, {16, 32}, {32, 16}} {
				if err := k.EncryptBlocks(ctx, make([]byte, size[0]), make([]byte, size[1])); err == nil {
					t.Errorf("room for %d bytes, input of %d: accepted", size[0], size[1])
				}
			}
			// More than the device takes at once is done in pieces or refused.
			src := blocks(m.Describe().MaxBlocks + 1)
			dst := make([]byte, len(src))
			if err := k.EncryptBlocks(ctx, dst, src); err == nil {
				if !bytes.Equal(encrypt(t, k, src[len(src)-16:]), dst[len(dst)-16:]) {
					t.Error("more blocks than the device takes: wrong output without an error")
				}
			}

			for name, change := range map[string]func(w *hsm.Wrapped){
				"first byte": func(w *hsm.Wrapped) { w.Blob[0] ^= 1 },
				"last byte":  func(w *hsm.Wrapped) { w.Blob[39] ^= 0x80 },
				"shortened":  func(w *hsm.Wrapped) { w.Blob = w.Blob[:32] },
				"cut":        func(w *hsm.Wrapped) { w.Blob = w.Blob[:39] },
				"lengthened": func(w *hsm.Wrapped) { w.Blob = append(w.Blob, make([]byte, 8)...) },
				"empty":      func(w *hsm.Wrapped) { w.Blob = nil },
				"zeros":      func(w *hsm.Wrapped) { clear(w.Blob) },
				// The roots differ, so no level opens what another wrapped.
				"other level": func(w *hsm.Wrapped) { w.Level = hsm.LevelHSM + hsm.LevelSoftware - w.Level },
			} {
				altered := w
				altered.Blob = bytes.Clone(w.Blob)
				change(&altered)
				if _, err := m.Load(ctx, altered); !errors.Is(err, hsm.ErrUnwrap) {
					t.Errorf("%s: %v", name, err)
				}
			}
			for name, change := range map[string]func(w *hsm.Wrapped){
				"unknown level": func(w *hsm.Wrapped) { w.Level = 7 },
				"unknown spec":  func(w *hsm.Wrapped) { w.Spec = "AES_512" },
			} {
				altered := w
				change(&altered)
				if _, err := m.Load(ctx, altered); !errors.Is(err, hsm.ErrUnsupported) {
					t.Errorf("%s: Load: %v", name, err)
				}
				if _, err := m.Generate(ctx, altered.Level, altered.Spec); !errors.Is(err, hsm.ErrUnsupported) {
					t.Errorf("%s: Generate: %v", name, err)
				}
			}
			unknown := w
			unknown.Generation = 2
			if _, err := m.Load(ctx, unknown); !errors.Is(err, hsm.ErrNoRoots) {
				t.Errorf("unknown generation: %v", err)
			}
			// After all these refusals the module is in working order.
			if !bytes.Equal(encrypt(t, load(t, m, w), blocks(1)), expect) {
				t.Error("the key is another one after the refusals")
			}
		})
	}
}

func (s *suite) keyConcurrency(t *testing.T) {
	const callers, rounds = 16, 20
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			ctx := testContext(t)
			m := s.rooted(t)
			src := blocks(8)
			_, shared := generate(t, m, level)
			expect := encrypt(t, shared, src)
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					w, err := m.Generate(ctx, level, hsm.SpecAES256)
					if err != nil {
						t.Errorf("Generate: %v", err)
						return
					}
					var own []byte
					for range rounds {
						k, err := hsm.LoadKey(ctx, m, w)
						if err != nil {
							t.Errorf("Load: %v", err)
							return
						}
						dst := make([]byte, len(src))
						if err := k.EncryptBlocks(ctx, dst, src); err != nil || own != nil && !bytes.Equal(dst, own) {
							t.Errorf("a key of its own: error %v, the same output %v", err, bytes.Equal(dst, own))
						}
						own = bytes.Clone(dst)
						if err := shared.EncryptBlocks(ctx, dst, src); err != nil || !bytes.Equal(dst, expect) {
							t.Errorf("the shared key: error %v, the same output %v", err, bytes.Equal(dst, expect))
						}
						if err := k.Close(); err != nil {
							t.Errorf("Close: %v", err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// A closed key refuses; closing it, even beside callers, never gives wrong output.
func (s *suite) keyClose(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			ctx := testContext(t)
			m := s.rooted(t)
			src := blocks(2)
			for range 5 {
				w, k := generate(t, m, level)
				expect := encrypt(t, k, src)
				s.closeBesideCallers(t, k, src, expect)
				ok(t, k.Close()) // once more
				if err := k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); err == nil {
					t.Error("a closed key still works")
				}
				if !bytes.Equal(encrypt(t, load(t, m, w), src), expect) {
					t.Error("the key cannot be loaded again")
				}
			}
			seal := sealKey(t, m)
			expect := encrypt(t, seal, src)
			ok(t, seal.Close())
			if !bytes.Equal(encrypt(t, seal, src), expect) {
				t.Error("the sealing root changed when a caller closed it")
			}
		})
	}
}

func (s *suite) closeBesideCallers(t *testing.T, k hsm.Key, src, expect []byte) {
	t.Helper()
	ctx := testContext(t) // ends the callers where Close does not
	var wg sync.WaitGroup
	started := make(chan struct{})
	const callers = 4
	for range callers {
		wg.Go(func() {
			dst := make([]byte, len(src))
			for first := true; ; first = false {
				err := k.EncryptBlocks(ctx, dst, src)
				if first {
					started <- struct{}{}
				}
				if err != nil {
					return
				}
				if !bytes.Equal(dst, expect) {
					t.Error("wrong output without an error")
					return
				}
			}
		})
	}
	for range callers {
		<-started
	}
	ok(t, k.Close())
	wg.Wait()
}
