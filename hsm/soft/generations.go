package soft

import (
	"context"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
)

// under is the module with a generation of its choice.
type under struct {
	*Module
	generation hsm.RootGeneration
}

// Under implements [hsm.Module].
func (m *Module) Under(generation hsm.RootGeneration) hsm.Module {
	return under{Module: m, generation: generation}
}

// The methods that use a generation without being told which.

func (u under) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	return u.generate(ctx, u.generation, level, spec)
}

func (u under) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	return u.importUnder(ctx, u.generation, level, spec, material)
}

func (u under) Seal(ctx context.Context) (hsm.Key, error) { return u.sealUnder(ctx, u.generation) }

func (u under) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return u.macUnder(ctx, u.generation, message)
}

func (u under) ExportRoots(ctx context.Context, publicKey, _ []byte) (hsm.RootBundle, error) {
	return u.exportUnder(ctx, u.generation, publicKey)
}

// PermitRewrap implements [hsm.Module]: the module has no security officer.
func (m *Module) PermitRewrap(ctx context.Context, _ []byte) error { return ctx.Err() }

// EndRewrap implements [hsm.Module].
func (m *Module) EndRewrap(ctx context.Context) error { return ctx.Err() }

// Rewrap implements [hsm.Module].
func (m *Module) Rewrap(ctx context.Context, w hsm.Wrapped, to hsm.RootGeneration) (hsm.Wrapped, error) {
	fail := func(err error) (hsm.Wrapped, error) {
		return hsm.Wrapped{}, fmt.Errorf("putting a key under root generation %d: %w", to, err)
	}
	if err := supported(w.Level, w.Spec); err != nil {
		return fail(err)
	}
	if w.Generation == 0 || to == 0 {
		return fail(hsm.ErrNoRoots)
	}
	err := m.use(ctx, w.Generation, func(from *rootSet) error {
		target := m.sets[to]
		if target == nil {
			return hsm.ErrNoRoots
		}
		material, err := from.unwrap(w.Level, w.Blob)
		defer clear(material)
		if err == nil {
			w.Blob, err = target.wrap(w.Level, material)
		}
		return err
	})
	if err != nil {
		return fail(err)
	}
	w.Generation = to
	return w, nil
}
