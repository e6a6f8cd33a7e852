package kms_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
)

// external makes a key that waits for its material.
func (w *world) external() *state.Key {
	w.t.Helper()
	w.replica.advance(time.Now().UnixMilli()) // a token is judged by both clocks
	var key *state.Key
	err := w.call(kms.OpCreateKey, func(ctx context.Context, c *kms.Call) (err error) {
		key, err = w.service.CreateKey(ctx, c, kms.CreateKeyRequest{Name: "external-" + rand.Text(), Origin: kms.OriginExternal})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return key
}

func (r *single) advance(to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = max(r.now, to)
}

// parameters fetches what an import is made with.
func (w *world) parameters(key *state.Key, algorithm string) (p *kms.ImportParameters) {
	w.t.Helper()
	err := w.call(kms.OpGetParametersForImport, func(ctx context.Context, c *kms.Call) (err error) {
		p, err = w.service.GetParametersForImport(ctx, c, key.ID, algorithm)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// wrapped is a request that brings material.
func (w *world) wrapped(p *kms.ImportParameters, algorithm string, material []byte) kms.ImportRequest {
	w.t.Helper()
	under, err := wrapping.Secret(algorithm, p.PublicKey, material)
	if err != nil {
		w.t.Fatal(err)
	}
	return kms.ImportRequest{Key: p.KeyID, Token: p.Token, Material: under.Material}
}

// bring imports material, or tells whether another node is to be asked.
func (w *world) bring(req kms.ImportRequest) (elsewhere bool, err error) {
	w.t.Helper()
	err = w.call(kms.OpImportKeyMaterial, func(ctx context.Context, c *kms.Call) error {
		err := w.service.ImportKeyMaterial(ctx, c, req)
		elsewhere = c.NeedsAnotherModule(err)
		return err
	})
	return elsewhere, err
}

// After an import no object on the Go heap, dead ones included, holds the material.
func TestNothingOfImportedMaterialStaysOnTheHeap(t *testing.T) {
	w := newWorld(t)
	p := w.parameters(w.external(), kms.WrapOAEPSHA256)
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	req := w.wrapped(p, kms.WrapOAEPSHA256, material)
	// What is searched for must not be found in the slice that says so, hence the mask.
	mask(material)
	runtime.GC() // what wrapping left, which is the client's
	runtime.GC()
	if _, err := w.bring(req); err != nil {
		t.Fatal(err)
	}
	if inHeap(t, material[:16]) {
		t.Error("the material is on the heap")
	}

	// That the search finds what is there:
	planted := bytes.Clone(material)
	mask(planted)
	if !inHeap(t, material[:16]) {
		t.Error("the search does not find what is on the heap")
	}
	runtime.KeepAlive(planted)
}

func mask(b []byte) {
	for i := range b {
		b[i] ^= 0x5a
	}
}

// inHeap dumps the heap and looks for the bytes.
func inHeap(t *testing.T, masked []byte) bool {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	debug.WriteHeapDump(f.Fd())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	mask(masked)
	defer mask(masked)
	return bytes.Contains(dump, masked)
}
