package kms_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
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
	hsmtest.Mask(material)
	runtime.GC() // what wrapping left, which is the client's
	runtime.GC()
	if _, err := w.bring(req); err != nil {
		t.Fatal(err)
	}
	if hsmtest.InHeap(t, material[:16]) {
		t.Error("the material is on the heap")
	}

	// That the search finds what is there:
	planted := bytes.Clone(material)
	hsmtest.Mask(planted)
	if !hsmtest.InHeap(t, material[:16]) {
		t.Error("the search does not find what is on the heap")
	}
	runtime.KeepAlive(planted)
}

// carrying is a device that carries RSA keys for encryption or does not, over a
// module that two of them share as the devices of two nodes share their roots.
type carrying struct {
	hsm.Module
	rsa bool
}

func (m carrying) Describe() hsm.Description {
	d := m.Module.Describe()
	d.Device = true
	if !m.rsa {
		d.Capabilities = slices.DeleteFunc(d.Capabilities, func(c hsm.Capability) bool { return c.Spec == hsm.SpecRSA2048 })
	}
	return d
}

func (m carrying) Under(g hsm.RootGeneration) hsm.Module {
	return carrying{m.Module.Under(g), m.rsa}
}

func (m carrying) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	if !m.rsa && w.Level == hsm.LevelHSM && w.Spec == hsm.SpecRSA2048 {
		return nil, fmt.Errorf("%w: the token carries no %s keys", hsm.ErrUnsupported, w.Spec)
	}
	return m.Module.Load(ctx, w)
}

// Two nodes whose devices do not carry the same keys: what one began the other
// finishes, or has the first one finish it; and it takes no record for altered.
func TestImportsBetweenNodesOfUnlikeDevices(t *testing.T) {
	module := softtest.Open(t)
	able := newWorldOver(t, carrying{module, true}, 2)
	unable := new(world)
	*unable = *able
	unable.service = kms.New(kms.Config{
		NodeID: fsmtest.NodeID, Replica: able.replica, Module: carrying{module, false}, Traces: able.traces, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(unable.service.Close)

	for _, algorithm := range []string{kms.WrapOAEPSHA256, kms.WrapOAEPSHA1, kms.WrapPKCS1} {
		material := bytes.Repeat([]byte{7}, 32)
		// The pair is of SOFTWARE level, which every module loads.
		p := unable.parameters(unable.external(), algorithm)
		prove(t, able, p, nil)
		if _, err := able.bring(unable.wrapped(p, algorithm, material)); err != nil {
			t.Errorf("%s: begun without RSA in the device, finished with it: %v", algorithm, err)
		}
		// The pair is an object of a device.
		p = able.parameters(able.external(), algorithm)
		prove(t, able, p, nil)
		prove(t, unable, p, hsm.ErrUnsupported)
		req := able.wrapped(p, algorithm, material)
		elsewhere, err := unable.bring(req)
		if kms.KindOf(err) != kms.KindUnavailable || !elsewhere {
			t.Errorf("%s: begun with RSA in the device, finished without: %v, another node is asked: %t", algorithm, err, elsewhere)
		}
		if _, err := able.bring(req); err != nil {
			t.Errorf("%s: at the node that was asked then: %v", algorithm, err)
		}
	}
}

// prove wants that error of the wrapping pair of a key's import.
func prove(t *testing.T, w *world, p *kms.ImportParameters, want error) {
	t.Helper()
	key, _ := w.replica.Root().Key(p.KeyID)
	for _, pair := range key.ImportPairs {
		if err := w.service.ProveImportPair(t.Context(), key, pair); !errors.Is(err, want) {
			t.Errorf("proving a wrapping pair: %v, want %v", err, want)
		}
	}
}
