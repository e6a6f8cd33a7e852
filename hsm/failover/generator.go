package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
)

// destroyWithin bounds the destruction of roots that are not believed.
const destroyWithin = 10 * time.Second

// tested is a device whose generator is tested by what it gives. Once it has
// failed, that is an outage of the device which does not end: also signatures
// draw from the generator, and what it made a moment ago it may have made badly.
type tested struct {
	hsm.Module
	generator *entropy.Tester // of the device, whatever generation is in use
}

var (
	_ hsm.Module    = (*tested)(nil)
	_ hsm.Monitored = (*tested)(nil)
)

func newTested(module hsm.Module) *tested { return &tested{module, entropy.NewTester()} }

// test looks at fresh bytes of the device's generator.
func (t *tested) test(ctx context.Context) error { return t.generator.Test(ctx, t.Module) }

// Health implements [hsm.Monitored]. One whose generator has failed is out since then.
func (t *tested) Health() (h hsm.Health) {
	if d, is := t.Module.(hsm.Monitored); is {
		h = d.Health()
	}
	if sick := t.generator.Healthy(); sick != nil {
		h.Outage, h.Since = sick, t.generator.FailedAt()
	}
	return h
}

// Changed is the device's own. That its generator fails the tester tells.
func (t *tested) Changed() <-chan struct{} {
	if d, is := t.Module.(hsm.Monitored); is {
		return d.Changed()
	}
	return nil
}

// Under implements [hsm.Module].
func (t *tested) Under(generation hsm.RootGeneration) hsm.Module {
	return &tested{t.Module.Under(generation), t.generator}
}

// Random implements [hsm.Module]. What did not pass comes to nobody.
func (t *tested) Random(ctx context.Context, p []byte) error {
	err := t.Module.Random(ctx, p)
	if err == nil {
		err = t.generator.Check(p)
	}
	if err != nil {
		clear(p)
	}
	return err
}

// Generate believes the key if the generator passes after it. What it gave for the
// key is not seen here; one that is stuck by then may have been before.
func (t *tested) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	w, err := t.Module.Generate(ctx, level, spec)
	if err == nil {
		err = t.test(ctx)
	}
	if err != nil {
		return hsm.Wrapped{}, err
	}
	return w, nil
}

// CreateRoots believes them likewise, or destroys them.
func (t *tested) CreateRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	if err := t.Module.CreateRoots(ctx, cluster, generation); err != nil {
		return err
	}
	err := t.test(ctx)
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyWithin)
	defer cancel()
	if left := t.Module.DestroyRoots(ctx, cluster, generation); left != nil {
		return fmt.Errorf("%w; the root keys that it made meanwhile are in it still, and nothing uses them (%v)", err, left)
	}
	return err
}

// TransportKey believes it likewise. A pair that was made stays in the device, so
// the generator is also tested before.
func (t *tested) TransportKey(ctx context.Context) ([]byte, error) {
	if err := t.test(ctx); err != nil {
		return nil, err
	}
	key, err := t.Module.TransportKey(ctx)
	if err == nil {
		err = t.test(ctx)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

// unhealthy tells whether err says that a device's generator has failed.
func unhealthy(err error) bool { return errors.Is(err, entropy.ErrGenerator) }

// report logs once of each device that its generator has failed, and returns what
// is closed when another one does.
func (p *Pair) report(reported *[2]bool) (fails [2]<-chan struct{}) {
	for i, m := range p.members {
		at := m.at.Load()
		if at.module == nil || reported[i] {
			continue
		}
		if sick := at.module.generator.Healthy(); sick != nil {
			reported[i] = true
			p.log.Error("an HSM of two is out until the node is restarted", "hsm", m.name, "error", sick)
			continue
		}
		fails[i] = at.module.generator.Failed()
	}
	return fails
}
