package hsmtest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

func (s *suite) random(t *testing.T) {
	ctx := testContext(t)
	m := s.empty(t)
	seen := make(map[string]bool)
	for _, n := range []int{1, 32, 4096, 64 << 10} {
		p := make([]byte, n)
		ok(t, m.Random(ctx, p))
		if n < 32 {
			continue
		}
		for at := 0; at+32 <= n; at += 32 {
			if chunk := string(p[at : at+32]); seen[chunk] {
				t.Fatalf("32 bytes came twice within %d", n)
			} else {
				seen[chunk] = true
			}
		}
		if bytes.Equal(p[n-32:], make([]byte, 32)) {
			t.Errorf("the end of %d bytes was not filled", n)
		}
	}
	ok(t, m.Random(ctx, nil))
}

// A call whose context is over does nothing and says why.
func (s *suite) cancelled(t *testing.T) {
	m := s.rooted(t)
	w, k := generate(t, m, hsm.LevelHSM)
	_, soft := generate(t, m, hsm.LevelSoftware)
	seal := sealKey(t, m)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	block := make([]byte, 16)
	_, loadErr := m.Load(ctx, w)
	_, generateErr := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	_, macErr := m.MAC(ctx, block)
	for name, err := range map[string]error{
		"Load": loadErr, "Generate": generateErr, "MAC": macErr,
		"VerifyMAC":              m.VerifyMAC(ctx, block, make([]byte, 32)),
		"Random":                 m.Random(ctx, block),
		"Check":                  m.Check(ctx),
		"CreateRoots":            m.CreateRoots(ctx, home, 2),
		"DestroyRoots":           m.DestroyRoots(ctx, home, 1),
		"EncryptBlocks":          k.EncryptBlocks(ctx, block, block),
		"EncryptBlocks software": soft.EncryptBlocks(ctx, block, block),
		"EncryptBlocks seal":     seal.EncryptBlocks(ctx, block, block),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !bytes.Equal(block, make([]byte, 16)) {
		t.Error("a cancelled call wrote something")
	}
	ok(t, m.Check(testContext(t)))
	m = s.restart(t, m)
	load(t, m, w)
}

// Close is idempotent, leaves no goroutine, and everything after it is an error.
func (s *suite) close(t *testing.T) {
	leaks(t)
	ctx := testContext(t)
	m := s.rooted(t)
	w, k := generate(t, m, hsm.LevelHSM)
	_, soft := generate(t, m, hsm.LevelSoftware)
	seal := sealKey(t, m)
	ok(t, m.Close())
	ok(t, m.Close())

	block := make([]byte, 16)
	_, openErr := m.OpenRoots(ctx, home)
	_, transportErr := m.TransportKey(ctx)
	_, exportErr := m.ExportRoots(ctx, s.stranger, s.OfficerPIN)
	_, generateErr := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	_, loadErr := m.Load(ctx, w)
	_, sealErr := m.Seal(ctx)
	_, macErr := m.MAC(ctx, block)
	for name, err := range map[string]error{
		"OpenRoots": openErr, "TransportKey": transportErr, "ExportRoots": exportErr,
		"Generate": generateErr, "Load": loadErr, "Seal": sealErr, "MAC": macErr,
		"CreateRoots":            m.CreateRoots(ctx, home, 2),
		"DestroyRoots":           m.DestroyRoots(ctx, home, 1),
		"ImportRoots":            m.ImportRoots(ctx, hsm.RootBundle{Cluster: home, Generation: 2}),
		"VerifyMAC":              m.VerifyMAC(ctx, block, make([]byte, 32)),
		"Random":                 m.Random(ctx, block),
		"Check":                  m.Check(ctx),
		"EncryptBlocks":          k.EncryptBlocks(ctx, block, block),
		"EncryptBlocks software": soft.EncryptBlocks(ctx, block, block),
		"EncryptBlocks seal":     seal.EncryptBlocks(ctx, block, block),
	} {
		if err == nil {
			t.Errorf("%s works after Close", name)
		}
	}
	ok(t, errors.Join(k.Close(), soft.Close(), seal.Close()))
	_ = m.Describe() // still answers
}

// Close beside callers waits for those inside; all others get errors.
func (s *suite) closeUnderLoad(t *testing.T) {
	leaks(t)
	ctx := testContext(t)
	m := s.rooted(t)
	w, shared := generate(t, m, hsm.LevelHSM)
	src := blocks(4)
	expect := encrypt(t, shared, src)
	var wg sync.WaitGroup
	started := make(chan struct{})
	const callers = 8
	for i := range callers {
		wg.Go(func() {
			for first := true; ; first = false {
				err := s.oneCall(ctx, m, w, shared, i, src, expect)
				if first {
					started <- struct{}{}
				}
				if err != nil {
					if errors.Is(err, errWrongOutput) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	for range callers {
		<-started
	}
	ok(t, m.Close())
	wg.Wait()
}

var errWrongOutput = errors.New("wrong output without an error")

func (s *suite) oneCall(ctx context.Context, m hsm.Module, w hsm.Wrapped, shared hsm.Key, i int, src, expect []byte) error {
	if i%4 == 0 {
		_, err := m.MAC(ctx, src)
		return err
	}
	k := shared
	if i%2 == 0 {
		var err error
		if k, err = hsm.LoadKey(ctx, m, w); err != nil {
			return err
		}
	}
	dst := make([]byte, len(src))
	if err := k.EncryptBlocks(ctx, dst, src); err != nil {
		return err
	}
	if !bytes.Equal(dst, expect) {
		return errWrongOutput
	}
	if k == shared {
		return nil
	}
	return k.Close()
}
