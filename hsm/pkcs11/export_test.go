package pkcs11

import (
	"context"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// Cryptoki is the interface that tests put between the module and the device.
type Cryptoki = cryptoki

// Interpose puts what f makes of the device's interface in front of it. Nobody
// supervises the device from then on, so that only the test calls it.
func (m *Module) Interpose(f func(Cryptoki) Cryptoki) {
	m.dev.stopped.Do(func() { close(m.dev.stop) })
	m.dev.loops.Wait()
	m.dev.api = f(m.dev.api)
}

// InterposeLibrary does so for all modules that are opened until undo is called.
func InterposeLibrary(path string, f func(Cryptoki) Cryptoki) (undo func() error, err error) {
	l, err := libraries.acquire(path)
	if err != nil {
		return nil, err
	}
	before := l.api
	l.api = f(before)
	return func() error {
		l.api = before
		return libraries.release(l)
	}, nil
}

// ObjectSessions returns the open sessions that own the loaded keys.
func (m *Module) ObjectSessions() (handles []p11.SessionHandle) {
	for range objectSessions {
		s := <-m.dev.objects
		if s.open {
			handles = append(handles, s.handle)
		}
		defer func() { m.dev.objects <- s }()
	}
	return handles
}

// Slot returns the slot of the module's token.
func (m *Module) Slot() uint { return m.dev.slot }

// Logins returns how many logins there have been.
func (m *Module) Logins(ctx context.Context) (n uint64, err error) {
	err = m.dev.alone(ctx, func() error {
		n = m.dev.epoch
		return nil
	})
	return n, err
}

// WrapKnown wraps the given key under the current root of the level, by way of
// an object that has it in the clear.
func (m *Module) WrapKnown(ctx context.Context, level hsm.Level, raw []byte) (hsm.Wrapped, error) {
	w := hsm.Wrapped{Level: level, Spec: hsm.SpecAES256}
	err := m.dev.call(ctx, m.dev.work, func(s *session) error {
		t, err := m.table(s)
		if err != nil {
			return err
		}
		root, err := wrappingRoot(level, hsm.SpecAES256)
		if err != nil {
			return err
		}
		under, err := t.root(t.current, root)
		if err != nil {
			return err
		}
		known := newMaterial(uses{})
		for i, a := range known {
			if a.Type == p11.CKA_VALUE_LEN {
				known[i] = attribute(p11.CKA_VALUE, raw)
			}
		}
		key, err := m.dev.api.CreateObject(s.handle, known)
		if err != nil {
			return err
		}
		w.Generation = t.current
		if w.Blob, err = m.dev.api.WrapKey(s.handle, mechanism(m.keyWrap), under, key); err != nil {
			return err
		}
		return m.dev.api.DestroyObject(s.handle, key)
	})
	return w, err
}

// RootHandle returns the handle of a root of the current generation.
func (m *Module) RootHandle(ctx context.Context, r hsm.Root) (h p11.ObjectHandle, err error) {
	err = m.dev.call(ctx, m.dev.work, func(s *session) error {
		t, err := m.table(s)
		if err != nil {
			return err
		}
		h, err = t.root(t.current, r)
		return err
	})
	return h, err
}

// KeyHandle returns the handle of a loaded HSM level key.
func KeyHandle(k hsm.Key) p11.ObjectHandle {
	return k.(*blockObject).handle
}

// DestroyRoot destroys one root of the current generation behind the module's back.
func (m *Module) DestroyRoot(ctx context.Context, r hsm.Root) error {
	h, err := m.RootHandle(ctx, r)
	if err != nil {
		return err
	}
	return m.dev.call(ctx, m.dev.work, func(s *session) error {
		return m.dev.api.DestroyObject(s.handle, h)
	})
}

// LoadedHandle returns the handle of a loaded HSM level key that encrypts no blocks.
func LoadedHandle(k hsm.Loaded) p11.ObjectHandle {
	var o *object
	switch k := k.(type) {
	case *signObject:
		o = k.object
	case *decryptObject:
		o = k.object
	case *agreeObject:
		o = k.object
	case *macObject:
		o = k.object
	}
	return o.handle
}

// OnSession runs f on one of the module's sessions.
func (m *Module) OnSession(ctx context.Context, f func(api Cryptoki, s p11.SessionHandle) error) error {
	return m.dev.call(ctx, m.dev.work, func(s *session) error { return f(m.dev.api, s.handle) })
}

// LoseLogin makes the module believe in a login that the device does not have.
func (m *Module) LoseLogin() error {
	return m.dev.alone(context.Background(), func() (err error) {
		for _, s := range m.dev.all {
			m.dev.discard(s)
		}
		m.dev.epoch++ // handles are void, and all is looked for again
		m.dev.idle, err = m.dev.openSession()
		return err
	})
}
