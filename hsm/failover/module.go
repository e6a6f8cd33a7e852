package failover

import (
	"bytes"
	"context"

	"github.com/raftkms/raftkms/hsm"
)

// under is the pair with a generation of its caller's choice. The devices are
// always told the generation: one of them may not hold the highest yet.
type under struct {
	*Pair
	generation hsm.RootGeneration
}

// Under implements [hsm.Module].
func (p *Pair) Under(generation hsm.RootGeneration) hsm.Module { return under{p, generation} }

// highest is what the pair uses without being told.
func (p *Pair) highest() under {
	u := under{Pair: p}
	if r := p.roots.Load(); r != nil {
		u.generation = r.current
	}
	return u
}

// Generate implements [hsm.Module].
func (p *Pair) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	return p.highest().Generate(ctx, level, spec)
}

// Generate makes the key in either device.
func (u under) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	return call[hsm.Wrapped]{do: func(ctx context.Context, _ int, module hsm.Module) (hsm.Wrapped, error) {
		return module.Under(u.generation).Generate(ctx, level, spec)
	}}.on(ctx, u.Pair)
}

// Import implements [hsm.Module].
func (p *Pair) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	return p.highest().Import(ctx, level, spec, material)
}

// Import gives each device a copy of the material, which it wipes.
func (u under) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	defer clear(material)
	copies := copiesOf(material)
	defer copies.wipe()
	return call[hsm.Wrapped]{do: func(ctx context.Context, i int, module hsm.Module) (hsm.Wrapped, error) {
		return lend(copies, i, func(material []byte) (hsm.Wrapped, error) {
			return module.Under(u.generation).Import(ctx, level, spec, material)
		})
	}}.on(ctx, u.Pair)
}

// Seal implements [hsm.Module].
func (p *Pair) Seal(ctx context.Context) (hsm.Key, error) { return p.highest().Seal(ctx) }

// Seal finds the key in either device.
func (u under) Seal(ctx context.Context) (hsm.Key, error) {
	_, err := call[hsm.Key]{do: func(ctx context.Context, _ int, module hsm.Module) (hsm.Key, error) {
		return module.Under(u.generation).Seal(ctx)
	}}.on(ctx, u.Pair)
	if err != nil {
		return nil, err
	}
	return seal(u), nil
}

// seal is the key of root-seal of a generation, in both devices.
type seal under

// EncryptBlocks implements [hsm.Key].
func (k seal) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	return encrypt(dst, src, func(in []byte) ([]byte, error) {
		return call[[]byte]{
			do: func(ctx context.Context, _ int, module hsm.Module) ([]byte, error) {
				key, err := module.Under(k.generation).Seal(ctx)
				if err != nil {
					return nil, err
				}
				return encrypted(ctx, key, in)
			},
			dispose: wipe,
		}.on(ctx, k.Pair)
	})
}

// Close does nothing: the root is the devices'.
func (k seal) Close() error { return nil }

// MAC implements [hsm.Module].
func (p *Pair) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return p.highest().MAC(ctx, message)
}

// MAC signs in either device.
func (u under) MAC(ctx context.Context, message []byte) ([]byte, error) {
	message = bytes.Clone(message)
	return call[[]byte]{do: func(ctx context.Context, _ int, module hsm.Module) ([]byte, error) {
		return module.Under(u.generation).MAC(ctx, message)
	}}.on(ctx, u.Pair)
}

// nothing is what comes of a call that only fails or does not.
type nothing struct{}

// VerifyMAC implements [hsm.Module].
func (p *Pair) VerifyMAC(ctx context.Context, message, mac []byte) error {
	message, mac = bytes.Clone(message), bytes.Clone(mac)
	_, err := call[nothing]{do: func(ctx context.Context, _ int, module hsm.Module) (none nothing, err error) {
		return none, module.VerifyMAC(ctx, message, mac)
	}}.on(ctx, p)
	return err
}

// Random implements [hsm.Module], with the generator of either device.
func (p *Pair) Random(ctx context.Context, b []byte) error {
	if len(b) == 0 {
		return ctx.Err()
	}
	drawn, err := call[[]byte]{
		rootless: true,
		do: func(ctx context.Context, _ int, module hsm.Module) ([]byte, error) {
			drawn := make([]byte, len(b))
			return drawn, module.Random(ctx, drawn)
		},
		dispose: wipe,
	}.on(ctx, p)
	if err != nil {
		return err
	}
	copy(b, drawn)
	clear(drawn)
	return nil
}

// Check implements [hsm.Module].
func (p *Pair) Check(ctx context.Context) error {
	_, err := call[nothing]{do: func(ctx context.Context, _ int, module hsm.Module) (none nothing, err error) {
		return none, module.Check(ctx)
	}}.on(ctx, p)
	return err
}

// Rewrap implements [hsm.Module].
func (p *Pair) Rewrap(ctx context.Context, w hsm.Wrapped, to hsm.RootGeneration) (hsm.Wrapped, error) {
	return call[hsm.Wrapped]{do: func(ctx context.Context, _ int, module hsm.Module) (hsm.Wrapped, error) {
		return module.Rewrap(ctx, w, to)
	}}.on(ctx, p)
}
