package kms

import (
	"context"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
)

// Healthy returns why this node must not make or use keys; nil while it may. It
// does not become well again: a generator that was stuck once is not believed
// because it moves.
func (s *Service) Healthy() error { return s.entropy.Healthy() }

// GeneratorFailed is closed when the module's generator has failed a test.
func (s *Service) GeneratorFailed() <-chan struct{} { return s.entropy.Failed() }

// CondemnGenerator is for what the module says itself of its generator: a pair of
// devices tests each of them, and goes on until both have failed.
func (s *Service) CondemnGenerator(sick error) { s.entropy.Condemn(sick) }

// TestGenerator looks at what the module's generator gives now.
func (s *Service) TestGenerator(ctx context.Context) error { return s.entropy.Test(ctx) }

// generate has the module make material, which takes room in a device for a
// moment. What the module's generator gave for it is not seen here, so the
// generator is tested after it: one that is stuck by then may have been before.
func (s *Service) generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	if err := s.Healthy(); err != nil {
		return hsm.Wrapped{}, err
	}
	return withRoom(s.keys, func() (hsm.Wrapped, error) {
		w, err := s.inUse().Generate(ctx, level, spec)
		if err == nil {
			err = s.TestGenerator(ctx)
		}
		if err != nil {
			return hsm.Wrapped{}, err
		}
		return w, nil
	})
}

// use is [keyring.use] of a node whose generator is well. A device draws from it
// for signatures, too, and one nonce that comes twice gives the private key away.
func (s *Service) use(ctx context.Context, key *state.Key, version *state.Version) (*loadedKey, error) {
	if err := s.Healthy(); err != nil {
		return nil, moduleError("using the key", err)
	}
	return s.keys.use(ctx, key, version)
}
