package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// What root-hsm unwraps leaves the device only under a key that the security
// officer has marked as trusted, and the officer makes no private objects, so
// that the next root-hsm cannot be such a key. So material goes over a bridge: a
// key that the officer has the device make for this, trusted, of the session
// only, which takes the material from the one root and gives it to the other.
// While it is there, whoever has the PIN and this very process could take
// material out by it; EndRewrap destroys it.

// bridge is that key.
type bridge struct {
	handle p11.ObjectHandle
	epoch  uint64 // in which the handle means it; 0: there is none
}

// PermitRewrap implements [hsm.Module]. Calls of others wait meanwhile.
func (m *Module) PermitRewrap(ctx context.Context, officerPIN []byte) error {
	if !m.guardsMaterial() {
		return ctx.Err()
	}
	if err := m.admin.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("permitting material to change roots: %w", err)
	}
	defer m.admin.Release(1)
	err := m.dev.callAlone(ctx, func(*session) error {
		m.bridgeLock.Lock()
		defer m.bridgeLock.Unlock()
		m.dropBridge()
		var made p11.ObjectHandle
		err := m.dev.asOfficer(officerPIN, func(s p11.SessionHandle) (err error) {
			made, err = m.dev.api.GenerateKey(s, mechanism(p11.CKM_AES_KEY_GEN), bridgeKey())
			if err != nil {
				return fmt.Errorf("making the trusted key: %w", err)
			}
			return nil
		})
		if err == nil {
			m.bridge = bridge{handle: made, epoch: m.dev.epoch}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("permitting material to change roots: %w", err)
	}
	return nil
}

// EndRewrap implements [hsm.Module].
func (m *Module) EndRewrap(ctx context.Context) error {
	err := m.dev.callAlone(ctx, func(*session) error {
		m.bridgeLock.Lock()
		defer m.bridgeLock.Unlock()
		m.dropBridge()
		return nil
	})
	if err != nil {
		return fmt.Errorf("ending the permission: %w", err)
	}
	return nil
}

// dropBridge destroys the key, which is gone already where its session is. The
// caller is alone in the device and holds bridgeLock.
func (m *Module) dropBridge() {
	if m.bridge.handle != 0 {
		_ = m.dev.api.DestroyObject(m.dev.idle, m.bridge.handle)
	}
	m.bridge = bridge{}
}

// trustedBridge returns the key while it may be used.
func (m *Module) trustedBridge() (p11.ObjectHandle, error) {
	m.bridgeLock.Lock()
	defer m.bridgeLock.Unlock()
	if m.bridge.epoch == 0 || m.bridge.epoch != m.dev.epoch {
		return 0, hsm.ErrNotPermitted
	}
	return m.bridge.handle, nil
}

// guardsMaterial tells whether the device knows what a trusted key is.
func (m *Module) guardsMaterial() bool { return !slices.Contains(m.refused, p11.CKA_WRAP_WITH_TRUSTED) }

// Rewrap implements [hsm.Module].
func (m *Module) Rewrap(ctx context.Context, w hsm.Wrapped, to hsm.RootGeneration) (hsm.Wrapped, error) {
	root, err := wrappingRoot(w.Level, w.Spec)
	if err == nil {
		err = m.carries(w.Level, w.Spec)
	}
	if err == nil && !blobFits(w) {
		err = hsm.ErrUnwrap
	}
	var blob []byte
	if err == nil {
		err = m.dev.call(ctx, m.dev.work, func(s *session) error {
			t, err := m.table(s)
			if err != nil {
				return err
			}
			from, err := t.root(w.Generation, root)
			if err != nil {
				return fmt.Errorf("generation %d: %w", w.Generation, err)
			}
			target, err := t.root(to, root)
			if err != nil {
				return fmt.Errorf("generation %d: %w", to, err)
			}
			blob, err = m.rewrap(s, w, from, target, t.sets[w.Generation][hsm.RecordMAC])
			return err // w stays as it is, for a second try
		})
	}
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("putting a key under root generation %d: %w", to, err)
	}
	w.Generation, w.Blob = to, blob
	return w, nil
}

// rewrap takes material from one root to another, as the bytes that it is.
func (m *Module) rewrap(s *session, w hsm.Wrapped, from, to, probe p11.ObjectHandle) ([]byte, error) {
	guarded := w.Level == hsm.LevelHSM && m.guardsMaterial()
	var over p11.ObjectHandle
	if guarded {
		var err error
		if over, err = m.trustedBridge(); err != nil {
			return nil, err
		}
	}
	h, err := m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), from, w.Blob, movingMaterial(guarded))
	if refused, doubt := unwrapRefused(err); refused {
		if doubt {
			if _, perr := m.sign(s, probe, []byte("raftkms check")); perr != nil {
				return nil, err
			}
		}
		return nil, fmt.Errorf("%w (%v)", hsm.ErrUnwrap, err)
	}
	if err != nil {
		return nil, err
	}
	if !guarded {
		return m.wrapAndDestroy(s, to, h)
	}
	blob, err := m.wrapAndDestroy(s, over, h)
	if err != nil {
		return nil, err
	}
	if h, err = m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), over, blob, movingMaterial(false)); err != nil {
		return nil, errors.Join(errors.New("taking material off the trusted key"), err)
	}
	return m.wrapAndDestroy(s, to, h)
}
