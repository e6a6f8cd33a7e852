package failover

import (
	"context"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
)

// holding tells which devices hold a generation. Both are there.
func (p *Pair) holding(ctx context.Context, generation hsm.RootGeneration) (holds [2]bool, err error) {
	for i, m := range p.members {
		err := p.ask(ctx, i, func(ctx context.Context, module hsm.Module) error {
			_, err := module.Under(generation).MAC(ctx, []byte("raftkms check"))
			return err
		})
		if err != nil && !errors.Is(err, hsm.ErrNoRoots) {
			return holds, m.says(err)
		}
		holds[i] = err == nil
	}
	return holds, nil
}

// Lacking implements [hsm.Redundant].
func (p *Pair) Lacking(ctx context.Context, generation hsm.RootGeneration) (publicKeys [][]byte, err error) {
	if err := p.lock(ctx); err != nil {
		return nil, err
	}
	defer p.unlock()
	if err := p.both(); err != nil {
		return nil, err
	}
	holds, err := p.holding(ctx, generation)
	if err != nil {
		return nil, err
	}
	for i, m := range p.members {
		if holds[i] {
			continue
		}
		key, err := p.transportKey(ctx, i)
		if err != nil {
			return nil, m.says(err)
		}
		publicKeys = append(publicKeys, key)
	}
	return publicKeys, nil
}

// CopyRoots implements [hsm.Redundant]. The officer's PIN is that of the device
// which has the roots.
func (p *Pair) CopyRoots(ctx context.Context, generation hsm.RootGeneration, officerPIN []byte) (to []string, err error) {
	r := p.roots.Load()
	if r == nil {
		return nil, fmt.Errorf("copying the root keys: %w", hsm.ErrNoRoots)
	}
	err = p.changeRoots(ctx, "copying the root keys", r.cluster, func() error {
		holds, err := p.holding(ctx, generation)
		if err != nil {
			return err
		}
		for i, m := range p.members {
			source := p.members[1-i]
			switch {
			case holds[i]:
				continue
			case !holds[1-i]:
				return fmt.Errorf("generation %d: %w", generation, hsm.ErrNoRoots)
			}
			if err := p.copyRoots(ctx, 1-i, i, r.cluster, generation, officerPIN); err != nil {
				return fmt.Errorf("from the %s HSM to the %s: %w", source.name, m.name, err)
			}
			to = append(to, m.name)
			p.log.Info("an HSM has got root keys of the other", "hsm", m.name, "generation", generation)
		}
		return nil
	})
	return to, err
}

// copyRoots takes a generation from one device to another, which proves it.
func (p *Pair) copyRoots(ctx context.Context, from, to int, cluster hsm.ClusterID, generation hsm.RootGeneration, officerPIN []byte) error {
	public, err := p.transportKey(ctx, to)
	if err != nil {
		return err
	}
	pins := copiesOf(officerPIN)
	defer pins.wipe()
	bundle, err := askFor(ctx, p, from, func(ctx context.Context, module hsm.Module) (hsm.RootBundle, error) {
		return lend(pins, from, func(pin []byte) (hsm.RootBundle, error) {
			return module.Under(generation).ExportRoots(ctx, public, pin)
		})
	})
	if err != nil {
		return err
	}
	if err := p.ask(ctx, to, func(ctx context.Context, module hsm.Module) error { return module.ImportRoots(ctx, bundle) }); err != nil {
		return err
	}
	canary, err := askFor(ctx, p, from, func(ctx context.Context, module hsm.Module) (hsm.Canary, error) {
		return hsm.NewCanary(ctx, module, cluster, generation)
	})
	if err == nil {
		err = p.ask(ctx, to, func(ctx context.Context, module hsm.Module) error { return canary.Verify(ctx, module) })
	}
	if errors.Is(err, hsm.ErrCanary) {
		err = errors.Join(err, p.ask(ctx, to, func(ctx context.Context, module hsm.Module) error {
			return module.DestroyRoots(ctx, cluster, generation)
		}))
	}
	return err
}
