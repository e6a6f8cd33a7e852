// Package hsmtest is the one conformance suite that every [hsm.Module] passes,
// so that what runs above a module need not know which one it has.
//
// It uses a module only through its interface, and real ones only. What it
// never does: it measures no time, and it leaves no module open.
package hsmtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/hsm"
)

// Target is an implementation under test.
type Target struct {
	// New returns a module over a new, empty token (or directory), opened as
	// a server opens it. Two of them can be open at the same time.
	New func(t *testing.T) hsm.Module
	// Reopen closes m and opens the same token once more.
	Reopen func(t *testing.T, m hsm.Module) hsm.Module
	// OfficerPIN is the PIN of every token's security officer. When it is nil
	// the module has no such role, and the PIN's refusal is not tested.
	OfficerPIN []byte
	// LoadKnown loads the 32 given bytes as a key of that level, by means that
	// only a test has (wrapping them under the root of the level). m has roots.
	LoadKnown func(ctx context.Context, t *testing.T, m hsm.Module, level hsm.Level, raw []byte) hsm.Key
	// Without names groups that ask nothing of this target, but of modules below
	// it that pass the suite themselves.
	Without []string
}

// suite is one run over one target.
type suite struct {
	Target
	stranger []byte // a transport key that is no module's
}

// Two clusters that have nothing to do with one another.
var (
	home    = hsm.ClusterID{0x68, 0x6f, 0x6d, 0x65, 15: 1}
	foreign = hsm.ClusterID{0x66, 0x6f, 0x72, 0x65, 15: 2}
)

var levels = [...]hsm.Level{hsm.LevelHSM, hsm.LevelSoftware}

// Run runs the suite; open is called once.
func Run(t *testing.T, open func(t *testing.T) Target) {
	pair, err := rsa.GenerateKey(rand.Reader, 3072)
	ok(t, err)
	s := &suite{Target: open(t), stranger: marshalPublic(t, pair)}
	for _, group := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"Describe", s.describe},
		{"RootsLife", s.rootsLife},
		{"RootsGenerations", s.rootsGenerations},
		{"RootsTransport", s.rootsTransport},
		{"RootsTransportRefusals", s.rootsTransportRefusals},
		{"RootsUnder", s.rootsUnder},
		{"RootsRewrap", s.rootsRewrap},
		{"RootsBackup", s.rootsBackup},
		{"RootsBackupRefusals", s.rootsBackupRefusals},
		{"Canary", s.canary},
		{"KeyRestart", s.keyRestart},
		{"KeyBlocks", s.keyBlocks},
		{"KeyRefusals", s.keyRefusals},
		{"KeyConcurrency", s.keyConcurrency},
		{"KeyClose", s.keyClose},
		{"Binding", s.binding},
		{"MAC", s.mac},
		{"Vectors", s.vectors},
		{"VectorsBatched", s.vectorsBatched},
		{"Capabilities", s.capabilities},
		{"Algorithms", s.algorithms},
		{"Imports", s.imports},
		{"DecryptsPKCS1", s.decryptsPKCS1},
		{"Envelope", s.envelope},
		{"Secret", s.secret},
		{"Random", s.random},
		{"Cancelled", s.cancelled},
		{"Close", s.close},
		{"CloseUnderLoad", s.closeUnderLoad},
	} {
		if !slices.Contains(s.Without, group.name) {
			t.Run(group.name, group.run)
		}
	}
}

// testContext is generous: a device that hangs must not hang the suite.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// empty returns a module without roots that is closed with the test.
func (s *suite) empty(t *testing.T) hsm.Module {
	t.Helper()
	return closed(t, s.New(t))
}

// rooted returns a module that holds generation 1 of the home cluster.
func (s *suite) rooted(t *testing.T) hsm.Module {
	t.Helper()
	m := s.empty(t)
	ok(t, m.CreateRoots(testContext(t), home, 1))
	return m
}

// restart closes m, opens its token again and finds the roots of the home cluster.
func (s *suite) restart(t *testing.T, m hsm.Module) hsm.Module {
	t.Helper()
	m = s.reopen(t, m)
	_, err := m.OpenRoots(testContext(t), home)
	ok(t, err)
	return m
}

func (s *suite) reopen(t *testing.T, m hsm.Module) hsm.Module {
	t.Helper()
	return closed(t, s.Reopen(t, m))
}

func closed(t *testing.T, m hsm.Module) hsm.Module {
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("closing the module: %v", err)
		}
	})
	return m
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// generate makes a key of that level and loads it; it is closed with the test.
func generate(t *testing.T, m hsm.Module, level hsm.Level) (hsm.Wrapped, hsm.Key) {
	t.Helper()
	w, err := m.Generate(testContext(t), level, hsm.SpecAES256)
	ok(t, err)
	return w, load(t, m, w)
}

func load(t *testing.T, m hsm.Module, w hsm.Wrapped) hsm.Key {
	t.Helper()
	k, err := hsm.LoadKey(testContext(t), m, w)
	ok(t, err)
	t.Cleanup(func() { _ = k.Close() }) // after the module: any answer but a panic will do
	return k
}

func encrypt(t *testing.T, k hsm.Key, src []byte) []byte {
	t.Helper()
	dst := make([]byte, len(src))
	ok(t, k.EncryptBlocks(testContext(t), dst, src))
	if bytes.Equal(dst, src) {
		t.Fatal("the blocks came back as they were")
	}
	return dst
}

// blocks returns n different blocks.
func blocks(n int) []byte {
	b := make([]byte, 16*n)
	for i := range n {
		b[16*i], b[16*i+1], b[16*i+15] = byte(i>>8), byte(i), 0x5a
	}
	return b
}

// leaks fails the test when it ends with goroutines that it did not begin with.
func leaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}
