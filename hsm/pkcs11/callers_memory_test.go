package pkcs11_test

import (
	"bytes"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

// scratch is memory as callers keep it: blocks and random bytes inside an
// object that holds Go pointers too.
type scratch struct {
	owner    *scratch
	src, dst [32]byte
	random   [64]byte
}

// TestTheCallersMemoryMayBePartOfAnyObject would end the process if the
// library were called in a way that has cgo look for Go pointers beside the
// bytes that are passed.
func TestTheCallersMemoryMayBePartOfAnyObject(t *testing.T) {
	m := open(t, newToken(t))
	ctx := testContext(t)
	ok(t, m.CreateRoots(ctx, home, 1))
	wrapped, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	key, err := hsm.LoadKey(ctx, m, wrapped)
	ok(t, err)
	seal, err := m.Seal(ctx)
	ok(t, err)

	s := new(scratch)
	s.owner = s
	for _, k := range []hsm.Key{key, seal} {
		s.dst = [32]byte{}
		ok(t, k.EncryptBlocks(ctx, s.dst[:], s.src[:]))
		if bytes.Equal(s.dst[:], s.src[:]) {
			t.Error("the blocks were not encrypted")
		}
	}
	ok(t, m.Random(ctx, s.random[:]))
	if s.random == [64]byte{} {
		t.Error("the random bytes are all zero")
	}
	ok(t, key.Close())
}
