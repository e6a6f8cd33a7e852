package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// askFor has one device do its part of a change of the roots. One that hangs is left
// there as soon as it counts as gone: its caller holds what the other waits for.
func askFor[T any](ctx context.Context, p *Pair, i int, do func(ctx context.Context, module hsm.Module) (T, error)) (T, error) {
	return call[T]{do: func(ctx context.Context, _ int, module hsm.Module) (T, error) { return do(ctx, module) }}.
		inside(ctx, p, i, p.members[i].at.Load().module)
}

// ask is for what only fails or does not.
func (p *Pair) ask(ctx context.Context, i int, do func(ctx context.Context, module hsm.Module) error) error {
	_, err := askFor(ctx, p, i, func(ctx context.Context, module hsm.Module) (none nothing, err error) {
		return none, do(ctx, module)
	})
	return err
}

// askForProof does not wait until the device counts as gone, which takes minutes
// where it writes to its token: half of the caller's time is left for the other.
func askForProof[T any](ctx context.Context, p *Pair, i int, do func(ctx context.Context, module hsm.Module) (T, error)) (T, error) {
	limit := admitWithin
	if deadline, is := ctx.Deadline(); is {
		limit = min(limit, time.Until(deadline)/2)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v, err := askFor(within, p, i, do)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w: it has not answered within %v", hsm.ErrUnavailable, limit.Round(time.Millisecond))
	}
	return v, err
}

// reckon finds out what either device holds. The caller has the lock.
func (p *Pair) reckon(ctx context.Context, cluster hsm.ClusterID) (current hsm.RootGeneration, err error) {
	var out [2]error // why a device is not asked any more
	for range p.members {
		var again bool
		// A device that fails meanwhile is out: the other may do alone.
		if current, again, err = p.reckonOnce(ctx, cluster, &out); !again {
			break
		}
	}
	return current, err
}

// reckonOnce notes which device is out. It is to be tried again when one is that
// was to make canaries.
func (p *Pair) reckonOnce(ctx context.Context, cluster hsm.ClusterID, out *[2]error) (current hsm.RootGeneration, again bool, err error) {
	var held [2]hsm.RootGeneration // 0: none, or it cannot be asked
	var failed []error
	best := -1
	for i, m := range p.members {
		at := m.at.Load()
		err := out[i]
		if err == nil {
			err = at.usable()
		}
		if err == nil {
			held[i], err = askForProof(ctx, p, i, func(ctx context.Context, module hsm.Module) (hsm.RootGeneration, error) {
				if err := at.module.test(ctx); err != nil { // before it is believed
					return 0, err
				}
				return module.OpenRoots(ctx, cluster)
			})
		}
		switch {
		case err == nil:
			if best < 0 || held[i] > held[best] {
				best = i
			}
			continue
		case !elsewhere(err):
			return 0, false, m.says(err)
		}
		out[i] = err
		failed = append(failed, m.says(err))
	}
	if best < 0 {
		err := gone(failed)
		if errors.Is(err, hsm.ErrNoRoots) { // of both: what could not be asked may have them
			p.roots.Store(nil)
		}
		return 0, false, err
	}
	newCanary := func(generation hsm.RootGeneration) (hsm.Canary, error) {
		return askForProof(ctx, p, best, func(ctx context.Context, module hsm.Module) (hsm.Canary, error) {
			return hsm.NewCanary(ctx, module, cluster, generation)
		})
	}
	failing := func(err error) (hsm.RootGeneration, bool, error) {
		again := elsewhere(err) && !errors.Is(err, hsm.ErrNoRoots)
		if again {
			out[best] = err
		}
		return 0, again, p.members[best].says(err)
	}
	for i, m := range p.members {
		if held[i] == 0 || i == best {
			continue
		}
		canary, err := newCanary(held[i])
		switch {
		case errors.Is(err, hsm.ErrNoRoots): // the older one is retired here, and will be there
			continue
		case err != nil:
			return failing(err)
		}
		_, err = askForProof(ctx, p, i, func(ctx context.Context, module hsm.Module) (none nothing, err error) {
			return none, canary.Verify(ctx, module)
		})
		switch {
		case errors.Is(err, hsm.ErrCanary):
			return 0, false, fmt.Errorf("the %s HSM holds other root keys of this cluster than the %s: attach the HSM that belongs to this node, or empty its token and bring the root keys to it: %w",
				m.name, p.members[best].name, err)
		case err != nil && !elsewhere(err):
			return 0, false, m.says(err)
		case err != nil:
			held[i], out[i] = 0, err
		}
	}
	canary, err := newCanary(held[best])
	if err != nil {
		return failing(err)
	}
	p.roots.Store(&roots{cluster: cluster, current: held[best], canary: canary})
	for i, m := range p.members {
		switch at := m.at.Load(); {
		case at.module == nil:
		case held[i] != 0:
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: lacks(held[i], held[best]), absent: at.absent && at.usable() != nil})
		case at.usable() != nil:
		case errors.Is(out[i], hsm.ErrNoRoots):
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: lacks(0, held[best])})
		default: // nobody knows what it holds: it is asked again
			m.at.CompareAndSwap(at, &standing{module: at.module, reason: out[i], absent: true})
		}
		if reason := m.at.Load().reason; reason != nil {
			p.log.Error("an HSM of two cannot take over", "hsm", m.name, "error", reason)
		}
	}
	wake(p.nudge)
	return held[best], false, nil
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
		for i, m := range p.members {
			_, err := call[nothing]{
				undoes: true,
				do: func(ctx context.Context, _ int, module hsm.Module) (none nothing, err error) {
					return none, module.CreateRoots(ctx, cluster, generation)
				},
			}.inside(ctx, p, i, m.at.Load().module)
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
	for i, m := range p.members {
		err := p.ask(ctx, i, func(ctx context.Context, module hsm.Module) error {
			return module.DestroyRoots(ctx, cluster, generation)
		})
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
	return p.transportKey(ctx, 0)
}

func (p *Pair) transportKey(ctx context.Context, i int) ([]byte, error) {
	return askFor(ctx, p, i, func(ctx context.Context, module hsm.Module) ([]byte, error) { return module.TransportKey(ctx) })
}

// ImportRoots gives the bundle to the device whose transport key it was wrapped to.
func (p *Pair) ImportRoots(ctx context.Context, bundle hsm.RootBundle) error {
	return p.changeRoots(ctx, "importing the roots", bundle.Cluster, func() error {
		return p.first(ctx, func(ctx context.Context, module hsm.Module) error { return module.ImportRoots(ctx, bundle) })
	})
}

// first runs f on one device after the other until one can. That one of them
// has the roots already is the answer only of both.
func (p *Pair) first(ctx context.Context, f func(ctx context.Context, module hsm.Module) error) error {
	exist := 0
	var failed []error
	for i, m := range p.members {
		err := p.ask(ctx, i, f)
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
	pins := copiesOf(officerPIN)
	defer pins.wipe()
	return call[hsm.RootBundle]{do: func(ctx context.Context, i int, module hsm.Module) (hsm.RootBundle, error) {
		return lend(pins, i, func(pin []byte) (hsm.RootBundle, error) {
			return module.Under(u.generation).ExportRoots(ctx, publicKey, pin)
		})
	}}.on(ctx, u.Pair)
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

// RestoreRoots restores them in both devices. It waits for one that hangs, as
// BackUpRoots does.
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
	pins := copiesOf(officerPIN)
	defer pins.wipe()
	permit := call[nothing]{do: func(ctx context.Context, i int, module hsm.Module) (nothing, error) {
		return lend(pins, i, func(pin []byte) (none nothing, err error) { return none, module.PermitRewrap(ctx, pin) })
	}}
	var failed []error
	permitted := false
	for i, m := range p.members {
		at := m.at.Load()
		err := at.serves()
		if err == nil {
			permit.dispose = func(nothing) { takeBack(at.module) }
			if _, err = permit.inside(ctx, p, i, at.module); err != nil && !elsewhere(err) {
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

// takeBack ends a permission of which nobody heard any more.
func takeBack(module hsm.Module) {
	ctx, cancel := context.WithTimeout(context.Background(), destroyWithin)
	defer cancel()
	_ = module.EndRewrap(ctx) // a device that is out has forgotten it
}

// EndRewrap implements [hsm.Module]. A device that is out has forgotten the permission.
func (p *Pair) EndRewrap(ctx context.Context) error {
	for i, m := range p.members {
		if m.at.Load().usable() != nil {
			continue
		}
		if err := p.ask(ctx, i, func(ctx context.Context, module hsm.Module) error { return module.EndRewrap(ctx) }); err != nil && !elsewhere(err) {
			return m.says(err)
		}
	}
	return nil
}
