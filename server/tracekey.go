package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
)

// Checkpoints of the traces are signed with a pair on P-256 that the node's
// module has made, and that is never in the clear outside it where the module
// carries P-256 ([hsm.LevelHSM]); else the module unwraps it for a signature
// ([hsm.LevelSoftware]). Ed25519, the usual key of such notes, would always be
// the latter: hardly a device has it. What the node keeps is the wrapped form,
// of no use without the roots.
//
// The signature says which node said it, also to somebody who has nothing but
// files. Whoever holds a node and its module can sign whatever he likes from
// then on; what was published before he came contradicts him.

const traceKeyFile = "trace-key.json"

// traceKey is the pair as its file holds it.
type traceKey struct {
	Level      hsm.Level          `json:"level"`
	Generation hsm.RootGeneration `json:"root_generation"`
	Blob       []byte             `json:"blob"`       // wrapped
	PublicKey  []byte             `json:"public_key"` // DER SubjectPublicKeyInfo
}

// loadTraceKey reads the node's pair, and has the module make one where there
// is none.
func (s *Server) loadTraceKey(ctx context.Context) (*traceKey, error) {
	path := filepath.Join(s.cfg.DataDir, traceKeyFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.makeTraceKey(ctx, path)
	}
	k := new(traceKey)
	if err == nil {
		err = json.Unmarshal(raw, k)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key of the traces: %w", err)
	}
	// Under roots that are being retired it would soon be of no use, and a device
	// would put it under others only with the security officer's leave.
	if c := s.machine.State().Cluster(); c != nil && k.Generation < hsm.RootGeneration(c.RootGeneration) {
		s.cfg.Logger.Info("this node signs its traces with another key, under the root keys in use: checkpoints name it from now on", "root_generation", c.RootGeneration)
		return s.makeTraceKey(ctx, path)
	}
	return k, nil
}

func (s *Server) makeTraceKey(ctx context.Context, path string) (*traceKey, error) {
	level := hsm.LevelSoftware
	if s.cfg.Module.Describe().CarriesFor(hsm.SpecECP256, hsm.UseSign) {
		level = hsm.LevelHSM
	}
	module := s.cfg.Module
	if c := s.machine.State().Cluster(); c != nil {
		module = module.Under(hsm.RootGeneration(c.RootGeneration))
	}
	w, err := module.Generate(ctx, level, hsm.SpecECP256)
	if err == nil {
		err = s.testGenerator(ctx) // which was asked for bytes that nobody saw
	}
	if err != nil {
		return nil, fmt.Errorf("making the key of the traces: %w", err)
	}
	k := &traceKey{Level: w.Level, Generation: w.Generation, Blob: w.Blob, PublicKey: w.PublicKey}
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the key of the traces: %w", err)
	}
	return k, writeFile(path, append(raw, '\n'))
}

// signCheckpoint signs a checkpoint and returns it as others keep it. Roots that are gone
// have taken the pair with them: then another one is made, once.
func (s *Server) signCheckpoint(ctx context.Context, c audit.Checkpoint) (audit.Signed, error) {
	k, err := s.loadTraceKey(ctx)
	if err != nil {
		return audit.Signed{}, err
	}
	loaded, err := s.cfg.Module.Load(ctx, k.wrapped())
	if errors.Is(err, hsm.ErrUnwrap) {
		s.cfg.Logger.Warn("the module cannot unwrap the key of this node's traces, and makes another one: checkpoints name it from now on", "error", err)
		if k, err = s.makeTraceKey(ctx, filepath.Join(s.cfg.DataDir, traceKeyFile)); err == nil {
			loaded, err = s.cfg.Module.Load(ctx, k.wrapped())
		}
	}
	if err != nil {
		return audit.Signed{}, fmt.Errorf("loading the key of the traces: %w", err)
	}
	defer loaded.Close()
	private, is := loaded.(hsm.Signer)
	if !is {
		return audit.Signed{}, errors.New("loading the key of the traces: it does not sign")
	}
	var signer note.Signer
	signer, err = audit.NewSigner(c.Origin, k.PublicKey, func(digest []byte) ([]byte, error) {
		return private.Sign(ctx, hsm.SchemeECDSASHA256, digest)
	})
	if err != nil {
		return audit.Signed{}, err
	}
	text, err := c.Sign(signer)
	if err != nil {
		return audit.Signed{}, err
	}
	key, err := audit.VerifierKey(c.Origin, k.PublicKey)
	return audit.Signed{Key: key, Note: string(text)}, err
}

func (k *traceKey) wrapped() hsm.Wrapped {
	return hsm.Wrapped{Level: k.Level, Spec: hsm.SpecECP256, Use: hsm.UseSign, Generation: k.Generation, Blob: k.Blob, PublicKey: k.PublicKey}
}
