package pkcs11

import (
	"context"

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

func (u under) ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	return u.exportUnder(ctx, u.generation, publicKey, officerPIN)
}
