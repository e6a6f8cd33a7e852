package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
)

// OpenRoots has both devices find the cluster's roots, and the one prove to the
// other that they are the same. A device with another cluster's roots
// ([hsm.ErrForeignRoots]), or with other ones of this cluster ([hsm.ErrCanary]),
// is an error; one without any, or without the newest, is left out until
// CopyRoots has been there.
func (p *Pair) OpenRoots(ctx context.Context, cluster hsm.ClusterID) (hsm.RootGeneration, error) {
	if err := p.lock(ctx); err != nil {
		return 0, fmt.Errorf("opening the roots: %w", err)
	}
	defer p.unlock()
	current, err := p.reckon(ctx, cluster)
	if err != nil {
		return 0, fmt.Errorf("opening the roots: %w", err)
	}
	return current, nil
}

// reckon finds out what either device holds. The caller has the lock.
func (p *Pair) reckon(ctx context.Context, cluster hsm.ClusterID) (current hsm.RootGeneration, err error) {
	for range p.members {
		// A device whose generator fails meanwhile is out: the other may do alone.
		if current, err = p.reckonOnce(ctx, cluster); !unhealthy(err) {
			break
		}
	}
	return current, err
}

func (p *Pair) reckonOnce(ctx context.Context, cluster hsm.ClusterID) (hsm.RootGeneration, error) {
	var held [2]hsm.RootGeneration // 0: none, or it cannot be asked
	var failed []error
	best := -1
	for i, m := range p.members {
		at := m.at.Load()
		err := at.usable()
		if err == nil {
			err = at.module.test(ctx) // before it is believed
		}
		if err == nil {
			held[i], err = at.module.OpenRoots(ctx, cluster)
		}
		switch {
		case err == nil:
			if best < 0 || held[i] > held[best] {
				best = i
			}
			continue
		case !elsewhere(err):
			return 0, m.says(err)
		}
		failed = append(failed, m.says(err))
	}
	if best < 0 {
		p.roots.Store(nil)
		return 0, gone(failed)
	}
	source := p.members[best].at.Load().module
	for i, m := range p.members {
		if held[i] == 0 || i == best {
			continue
		}
		canary, err := hsm.NewCanary(ctx, source, cluster, held[i])
		switch {
		case errors.Is(err, hsm.ErrNoRoots): // the older one is retired here, and will be there
			continue
		case err != nil:
			return 0, p.members[best].says(err)
		}
		if err := canary.Verify(ctx, m.at.Load().module); errors.Is(err, hsm.ErrCanary) {
			return 0, fmt.Errorf("the %s HSM holds other root keys of this cluster than the %s: attach the HSM that belongs to this node, or empty its token and bring the root keys to it: %w",
				m.name, p.members[best].name, err)
		} else if err != nil && !elsewhere(err) {
			return 0, m.says(err)
		}
	}
	canary, err := hsm.NewCanary(ctx, source, cluster, held[best])
	if err != nil {
		return 0, p.members[best].says(err)
	}
	p.roots.Store(&roots{cluster: cluster, current: held[best], canary: canary})
	for i, m := range p.members {
		if at := m.at.Load(); at.module != nil && held[i] != 0 {
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: lacks(held[i], held[best]), absent: at.absent && at.usable() != nil})
		} else if at.module != nil && at.usable() == nil {
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: lacks(0, held[best])})
		}
		if reason := m.at.Load().reason; reason != nil {
			p.log.Error("an HSM of two cannot take over", "hsm", m.name, "error", reason)
		}
	}
	wake(p.nudge)
	return held[best], nil
}

// lacks is why a device with that generation is not asked.
func lacks(has, current hsm.RootGeneration) error {
	switch {
	case has == current:
		return nil
	case has == 0:
		return fmt.Errorf("bring them to it with `kmsctl root copy`: %w", hsm.ErrNoRoots)
	default:
		return fmt.Errorf("it has generation %d of the root keys and lacks generation %d: bring them to it with `kmsctl root copy`: %w", has, current, hsm.ErrNoRoots)
	}
}

// both returns an error unless both devices are there.
func (p *Pair) both() error {
	for _, m := range p.members {
		if err := m.at.Load().usable(); err != nil {
			return fmt.Errorf("both HSMs of the node are needed for this, and the %s is out: %w", m.name, err)
		}
	}
	return nil
}

// changeRoots runs f, which changes roots in devices that are both there, and
// finds out what they hold afterwards.
func (p *Pair) changeRoots(ctx context.Context, doing string, cluster hsm.ClusterID, f func() error) error {
	if err := p.lock(ctx); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer p.unlock()
	err := p.both()
	if err == nil {
		err = f()
	}
	if err == nil {
		_, err = p.reckon(ctx, cluster)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// CreateRoots makes them in the first device, or in the second when the generator
// of the first fails meanwhile. The other is out of the pair until CopyRoots.
func (p *Pair) CreateRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	return p.changeRoots(ctx, "creating the roots", cluster, func() error {
		if p.roots.Load() != nil {
			for _, m := range p.members {
				if err := m.at.Load().serves(); err != nil {
					return fmt.Errorf("the %s HSM lacks root keys that are in use: %w", m.name, err)
				}
			}
		}
		var failed []error
		for _, m := range p.members {
			err := m.at.Load().module.CreateRoots(ctx, cluster, generation)
			if !unhealthy(err) {
				return err
			}
			failed = append(failed, m.says(err))
		}
		return gone(failed)
	})
}

// DestroyRoots destroys them in both devices, or says which one has to be there
// for that first.
func (p *Pair) DestroyRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	fail := func(err error) error { return fmt.Errorf("destroying the roots: %w", err) }
	if err := p.lock(ctx); err != nil {
		return fail(err)
	}
	defer p.unlock()
	if err := p.both(); err != nil {
		return fail(err)
	}
	destroyed := false
	for _, m := range p.members {
		err := m.at.Load().module.DestroyRoots(ctx, cluster, generation)
		if err != nil && !errors.Is(err, hsm.ErrNoRoots) {
			return fail(m.says(err))
		}
		destroyed = destroyed || err == nil
	}
	if !destroyed {
		return fail(hsm.ErrNoRoots)
	}
	if r := p.roots.Load(); r != nil && r.cluster == cluster && r.current == generation {
		for _, m := range p.members {
			at := m.at.Load()
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: errNoRootsYet, absent: at.absent})
		}
		if _, err := p.reckon(ctx, cluster); err != nil && !errors.Is(err, hsm.ErrNoRoots) {
			return fail(err)
		}
	}
	return nil
}

// TransportKey is the first device's.
func (p *Pair) TransportKey(ctx context.Context) ([]byte, error) {
	at := p.members[0].at.Load()
	if err := at.usable(); err != nil {
		return nil, fmt.Errorf("finding the transport key of the %s HSM: %w", p.members[0].name, err)
	}
	return at.module.TransportKey(ctx)
}

// ImportRoots gives the bundle to the device whose transport key it was wrapped to.
func (p *Pair) ImportRoots(ctx context.Context, bundle hsm.RootBundle) error {
	return p.changeRoots(ctx, "importing the roots", bundle.Cluster, func() error {
		return p.first(func(module hsm.Module) error { return module.ImportRoots(ctx, bundle) })
	})
}

// first runs f on one device after the other until one can. That one of them
// has the roots already is the answer only of both.
func (p *Pair) first(f func(module hsm.Module) error) error {
	exist := 0
	var failed []error
	for _, m := range p.members {
		err := f(m.at.Load().module)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, hsm.ErrRootsExist):
			exist++
		default:
			failed = append(failed, m.says(err))
		}
	}
	if exist == len(p.members) {
		return hsm.ErrRootsExist
	}
	return errors.Join(failed...)
}

// ExportRoots implements [hsm.Module].
func (p *Pair) ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	return p.highest().ExportRoots(ctx, publicKey, officerPIN)
}

// ExportRoots wraps them in the device that serves. officerPIN is of both.
func (u under) ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	return withPIN(ctx, u.Pair, officerPIN, func(ctx context.Context, module hsm.Module, pin []byte) (hsm.RootBundle, error) {
		return module.Under(u.generation).ExportRoots(ctx, publicKey, pin)
	})
}

// withPIN gives each device a PIN of its own to keep, in case it hangs.
func withPIN[T any](ctx context.Context, p *Pair, officerPIN []byte, do func(ctx context.Context, module hsm.Module, pin []byte) (T, error)) (T, error) {
	return call[T]{do: func(ctx context.Context, _ int, module hsm.Module) (T, error) {
		pin := bytes.Clone(officerPIN)
		defer clear(pin)
		return do(ctx, module, pin)
	}}.on(ctx, p)
}

// BackUpRoots wraps them in the device that serves. It waits for a device that
// hangs, which has the recovery key in hand.
func (p *Pair) BackUpRoots(ctx context.Context, generation hsm.RootGeneration, recoveryKey, officerPIN []byte) (hsm.RootBundle, error) {
	var failed []error
	for _, m := range p.members {
		at := m.at.Load()
		err := at.serves()
		if err == nil {
			var bundle hsm.RootBundle
			if bundle, err = at.module.BackUpRoots(ctx, generation, recoveryKey, officerPIN); err == nil || !elsewhere(err) {
				return bundle, err
			}
		}
		failed = append(failed, m.says(err))
	}
	return hsm.RootBundle{}, gone(failed)
}

// RestoreRoots restores them in both devices.
func (p *Pair) RestoreRoots(ctx context.Context, bundle hsm.RootBundle, recoveryKey []byte) error {
	return p.changeRoots(ctx, "restoring the roots", bundle.Cluster, func() error {
		exist := 0
		for _, m := range p.members {
			err := m.at.Load().module.RestoreRoots(ctx, bundle, recoveryKey)
			switch {
			case errors.Is(err, hsm.ErrRootsExist):
				exist++
			case err != nil:
				return m.says(err)
			}
		}
		if exist == len(p.members) {
			return hsm.ErrRootsExist
		}
		return nil
	})
}

// PermitRewrap has both devices permit it, as far as they serve: the officer's
// PIN is of both, and a device that refuses it ends the matter.
func (p *Pair) PermitRewrap(ctx context.Context, officerPIN []byte) error {
	var failed []error
	permitted := false
	for _, m := range p.members {
		at := m.at.Load()
		err := at.serves()
		if err == nil {
			if err = at.module.PermitRewrap(ctx, officerPIN); err != nil && !elsewhere(err) {
				return m.says(err)
			}
		}
		permitted = permitted || err == nil
		failed = append(failed, err)
	}
	if permitted {
		return nil
	}
	return gone(failed)
}

// EndRewrap implements [hsm.Module]. A device that is out has forgotten the permission.
func (p *Pair) EndRewrap(ctx context.Context) error {
	for _, m := range p.members {
		at := m.at.Load()
		if at.usable() != nil {
			continue
		}
		if err := at.module.EndRewrap(ctx); err != nil && !elsewhere(err) {
			return m.says(err)
		}
	}
	return nil
}
