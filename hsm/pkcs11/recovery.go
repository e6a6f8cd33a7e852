package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/kwp"
)

// The roots are wrapped only under keys that the security officer has marked as
// trusted. So it is the officer's login that makes the recovery key an object
// of the device, for as long as the wrapping takes.

// BackUpRoots implements [hsm.Module]. Calls of others wait meanwhile; HSM level
// keys are loaded again when they are next used.
func (m *Module) BackUpRoots(ctx context.Context, generation hsm.RootGeneration, recoveryKey, officerPIN []byte) (hsm.RootBundle, error) {
	fail := func(err error) (hsm.RootBundle, error) {
		return hsm.RootBundle{}, fmt.Errorf("backing up the roots of generation %d: %w", generation, err)
	}
	if len(recoveryKey) != hsm.RecoveryKeySize {
		return fail(hsm.ErrUnsupported)
	}
	if err := m.admin.Acquire(ctx, 1); err != nil {
		return fail(err)
	}
	defer m.admin.Release(1)
	var bundle hsm.RootBundle
	err := m.dev.callAlone(ctx, func(s *session) (err error) {
		t, err := m.table(s) // shows, too, whether something was lost before
		if err == nil {
			_, err = t.root(generation, hsm.RootHSM)
		}
		if err == nil {
			bundle, err = m.backUp(generation, recoveryKey, officerPIN)
		}
		return err
	})
	if err != nil {
		return fail(err)
	}
	return bundle, nil
}

// backUp is for a caller that is alone in the device.
func (m *Module) backUp(generation hsm.RootGeneration, recoveryKey, officerPIN []byte) (bundle hsm.RootBundle, err error) {
	inner := newNested(trustedSecret())
	defer inner.free()
	var trusted p11.ObjectHandle
	err = m.dev.asOfficer(officerPIN, func(s p11.SessionHandle) (err error) {
		trusted, err = m.dev.api.CreateSecret(s, inner, recoveryKey)
		if err != nil {
			return fmt.Errorf("marking the recovery key as trusted: %w", err)
		}
		return nil
	})
	if err != nil {
		return hsm.RootBundle{}, err
	}
	s := &session{handle: m.dev.idle, open: true}
	defer func() {
		if derr := m.dev.api.DestroyObject(s.handle, trusted); derr != nil {
			// It goes with its session then.
			err = errors.Join(err, fmt.Errorf("destroying the trusted key: %w", derr), m.dev.connect())
		}
	}()
	t, err := m.table(s)
	if err != nil {
		return hsm.RootBundle{}, err
	}
	b := hsm.RootBundle{Cluster: t.cluster, Generation: generation, Mechanism: hsm.MechanismRecovery, Wrapped: make(map[hsm.Root][]byte)}
	for _, k := range rootKinds {
		h, err := t.root(generation, k.root)
		if err != nil {
			return hsm.RootBundle{}, err
		}
		if b.Wrapped[k.root], err = m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), trusted, h); err != nil {
			return hsm.RootBundle{}, fmt.Errorf("wrapping %s: %w", k.name, err)
		}
	}
	return b, nil
}

// RestoreRoots implements [hsm.Module]. The recovery key is an object of the
// user's session for that moment.
func (m *Module) RestoreRoots(ctx context.Context, bundle hsm.RootBundle, recoveryKey []byte) error {
	err := checkBackup(bundle, recoveryKey)
	if err == nil {
		err = m.administer(ctx, func(s *session) error { return m.restoreRoots(s, bundle, recoveryKey) })
	}
	if err != nil {
		return fmt.Errorf("restoring the roots of generation %d: %w", bundle.Generation, err)
	}
	return nil
}

func (m *Module) restoreRoots(s *session, bundle hsm.RootBundle, recoveryKey []byte) (err error) {
	outer := newNested(unwrappingSecret())
	defer outer.free()
	key, err := m.dev.api.CreateSecret(s.handle, outer, recoveryKey)
	if err != nil {
		return fmt.Errorf("handing the recovery key to the token: %w", err)
	}
	defer func() { err = errors.Join(err, m.destroyMade(s, key)) }()
	return m.makeRoots(s, bundle.Cluster, bundle.Generation, func(k rootKind, inner nested) (p11.ObjectHandle, error) {
		h, err := m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), key, bundle.Wrapped[k.root],
			k.template(bundle.Cluster, bundle.Generation, 0, inner))
		refused, doubt := unwrapRefused(err)
		if refused && doubt {
			var some [1]byte
			refused = m.dev.api.RandomInto(s.handle, some[:]) == nil
		}
		if refused {
			return 0, fmt.Errorf("%w (%v)", hsm.ErrUnwrap, err)
		}
		return h, err
	})
}

func checkBackup(b hsm.RootBundle, recoveryKey []byte) error {
	if b.Mechanism != hsm.MechanismRecovery || len(recoveryKey) != hsm.RecoveryKeySize {
		return fmt.Errorf("%w: the roots are wrapped by %q", hsm.ErrUnsupported, b.Mechanism)
	}
	if len(b.Wrapped) != len(rootKinds) {
		return fmt.Errorf("%w: there are %d keys instead of %d", hsm.ErrUnwrap, len(b.Wrapped), len(rootKinds))
	}
	for _, k := range rootKinds {
		if len(b.Wrapped[k.root]) != kwp.WrappedSize(keySize) {
			return fmt.Errorf("%w: there is no proper %s", hsm.ErrUnwrap, k.name)
		}
	}
	return nil
}
