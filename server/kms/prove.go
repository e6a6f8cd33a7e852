package kms

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// ProveVersion tells whether this node's module opens a version: its record MAC
// holds, and the module unwraps its material, which is given back at once. The
// key's loaded versions stay as they are. An error wraps one of package hsm's;
// [ModuleGone] tells one of the module from one of the record.
func (s *Service) ProveVersion(ctx context.Context, key *state.Key, version *state.Version) error {
	binding, err := bindingOf(key, version)
	if err != nil {
		return err
	}
	if err := hsm.VerifyBinding(ctx, s.module, binding, version.MAC); err != nil {
		return err
	}
	return s.proveMaterial(ctx, hsm.Wrapped{
		Level: binding.Level, Spec: binding.Spec, Use: useOf(key.Usage), Generation: binding.Generation,
		Blob: version.Blob, PublicKey: version.PublicKey,
	})
}

// ProveImportPair does so with the wrapping pair of an import that has not ended.
// One that is whole, but of another node's HSM and of no kind that this one
// carries, is [hsm.ErrUnsupported].
func (s *Service) ProveImportPair(ctx context.Context, key *state.Key, pair state.ImportPair) error {
	id, err := uuid.Parse(key.ID)
	if err != nil {
		return fmt.Errorf("reading the id of a stored key: %w", err)
	}
	tokenID, err := uuid.FromBytes(pair.TokenID)
	if err != nil {
		return fmt.Errorf("reading the id of an import token: %w", err)
	}
	var w hsm.Wrapped
	// Which algorithm the pair is for, only its token says.
	for _, algorithm := range []byte{wrapOAEPSHA256, wrapOAEPSHA1, wrapPKCS1} {
		w, err = s.verifyPair(ctx, importToken{id: tokenID, key: id, algorithm: algorithm}, pair)
		if !errors.Is(err, hsm.ErrMAC) {
			break
		}
	}
	if err != nil {
		return err
	}
	return s.proveMaterial(ctx, w)
}

func (s *Service) proveMaterial(ctx context.Context, w hsm.Wrapped) error {
	loaded, err := s.keys.loadMaterial(ctx, w)
	if err != nil {
		return err
	}
	return loaded.Close()
}

// ProveFingerprint does so with the fingerprint of a key's first import.
func (s *Service) ProveFingerprint(ctx context.Context, key *state.Key) error {
	id, err := uuid.Parse(key.ID)
	if err != nil {
		return fmt.Errorf("reading the id of a stored key: %w", err)
	}
	digest, err := s.openFingerprint(ctx, id, key.Fingerprint)
	clear(digest)
	return err
}

// RewrapVersion has this node's module put a version's material under another
// generation of the roots, and bind it to its record again. Errors are package
// hsm's: a record that was altered is not carried over.
func (s *Service) RewrapVersion(ctx context.Context, key *state.Key, version *state.Version, to uint32) (blob, mac []byte, err error) {
	binding, err := bindingOf(key, version)
	if err != nil {
		return nil, nil, err
	}
	if err := hsm.VerifyBinding(ctx, s.module, binding, version.MAC); err != nil {
		return nil, nil, err
	}
	w, err := withRoom(s.keys, func() (hsm.Wrapped, error) {
		return s.module.Rewrap(ctx, hsm.Wrapped{
			Level: binding.Level, Spec: binding.Spec, Use: useOf(key.Usage), Generation: binding.Generation,
			Blob: version.Blob, PublicKey: version.PublicKey,
		}, hsm.RootGeneration(to))
	})
	if err != nil {
		return nil, nil, err
	}
	binding.Generation, binding.Blob = w.Generation, w.Blob
	mac, err = hsm.Bind(ctx, s.module, binding)
	return w.Blob, mac, err
}

// RewrapFingerprint puts the fingerprint of a key's first import under another
// generation of the roots.
func (s *Service) RewrapFingerprint(ctx context.Context, key *state.Key, to uint32) ([]byte, error) {
	id, err := uuid.Parse(key.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the id of a stored key: %w", err)
	}
	digest, err := s.openFingerprint(ctx, id, key.Fingerprint)
	defer clear(digest)
	if err != nil {
		return nil, err
	}
	generation := hsm.RootGeneration(to)
	return s.withSeal(ctx, generation, func(seal *envelope.Key) ([]byte, error) {
		return envelope.SealSecret(ctx, seal, generation, digest, append(domain("raftkms import fingerprint v1"), id[:]...))
	})
}
