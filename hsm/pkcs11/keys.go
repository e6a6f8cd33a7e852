package pkcs11

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/sync/semaphore"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/kwp"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// wrappingRoot returns the root that wraps material of the level.
func wrappingRoot(level hsm.Level, spec hsm.Spec) (hsm.Root, error) {
	if spec.Family() == 0 {
		return 0, fmt.Errorf("%w: key spec %q", hsm.ErrUnsupported, spec)
	}
	switch level {
	case hsm.LevelHSM:
		return hsm.RootHSM, nil
	case hsm.LevelSoftware:
		return hsm.RootSoft, nil
	default:
		return 0, fmt.Errorf("%w: protection level %d", hsm.ErrUnsupported, level)
	}
}

// carries returns an error unless the device has keys of that spec at that level.
func (m *Module) carries(level hsm.Level, spec hsm.Spec) error {
	if level != hsm.LevelHSM || spec == hsm.SpecAES256 || m.about.Carries(spec) {
		return nil
	}
	return fmt.Errorf("%w: the token carries no %s keys; they can be made at SOFTWARE level", hsm.ErrUnsupported, spec)
}

// Load unwraps a key: an HSM level one as a session object that does what it is
// for and nothing else, a SOFTWARE level one into locked memory.
func (m *Module) Load(ctx context.Context, w hsm.Wrapped) (key hsm.Loaded, err error) {
	use, ok := w.UseOf()
	if _, err = wrappingRoot(w.Level, w.Spec); err == nil && !ok {
		err = fmt.Errorf("%w: %s keys for %s", hsm.ErrUnsupported, w.Spec, w.Use)
	}
	if err == nil {
		err = m.carries(w.Level, w.Spec)
	}
	if err == nil {
		w.Use = use
		if w.Level == hsm.LevelSoftware {
			key, err = m.loadSoftware(ctx, w)
		} else {
			key, err = m.loadObject(ctx, w)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("loading a key: %w", err)
	}
	return key, nil
}

func (m *Module) loadObject(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	if w.Spec == hsm.SpecAES256 && !m.blocksOffered {
		return nil, fmt.Errorf("%w: the token has no CKM_AES_ECB", hsm.ErrUnsupported)
	}
	k := &object{m: m, wrapped: w, users: semaphore.NewWeighted(everybody)}
	err := m.dev.call(ctx, m.dev.objects, func(s *session) (err error) {
		k.handle, err = m.unwrap(s, w)
		k.epoch = m.dev.epoch
		return err
	})
	if err != nil {
		return nil, err
	}
	m.dev.counts.loaded.Add(1)
	return k.as(w.Use), nil
}

func (m *Module) loadSoftware(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	var key hsm.Loaded
	err := m.dev.call(ctx, m.dev.work, func(s *session) error {
		h, err := m.unwrap(s, w)
		if err != nil {
			return err
		}
		key, err = m.readKey(s, h, w)
		if derr := m.dev.api.DestroyObject(s.handle, h); derr != nil && err == nil {
			err = errors.Join(fmt.Errorf("destroying the object that was read: %w", derr), key.Close())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// readKey makes a key in locked memory of the value of an object. The caller is
// inside the gate, so that Close does not take the memory away.
func (m *Module) readKey(s *session, h p11.ObjectHandle, w hsm.Wrapped) (hsm.Loaded, error) {
	memory, err := m.arena.New(len(w.Blob)) // the material is shorter
	if err != nil {
		return nil, err
	}
	defer memory.Destroy()
	material := memory.Bytes()
	size, err := m.dev.api.ReadValue(s.handle, h, material)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	if size < 0 || size > len(material) {
		return nil, fmt.Errorf("%w: %d bytes", hsm.ErrUnwrap, size)
	}
	if w.Spec.Pair() {
		size = derSize(material[:size])
	}
	return softkey.Load(m.arena, w, material[:size])
}

// derSize is the size of the one DER value that b begins with, where nothing
// but the zeros follow with which some tokens (SoftHSM 2.6.1) fill what they
// wrap to whole semiblocks and give back with it; else len(b).
func derSize(b []byte) int {
	var value cryptobyte.String
	rest := cryptobyte.String(b)
	if !rest.ReadASN1Element(&value, cryptobyteasn1.SEQUENCE) || len(rest) > 7 || len(bytes.Trim(rest, "\x00")) > 0 {
		return len(b)
	}
	return len(value)
}

// unwrapsAs is the template with which a wrapped key becomes an object.
func unwrapsAs(w hsm.Wrapped) template {
	switch {
	case w.Level == hsm.LevelHSM:
		return loadedAs(w.Spec, w.Use)
	case w.Spec == hsm.SpecAES256:
		return loadedMaterial(true)
	default:
		return loadedSecret(true)
	}
}

// blobFits tells whether a blob can be material of the spec, before the device
// is bothered with it.
func blobFits(w hsm.Wrapped) bool {
	if w.Spec.Pair() {
		return len(w.Blob) > 16 && len(w.Blob) <= kwp.WrappedSize(keypair.MaxPrivate) && len(w.Blob)%8 == 0
	}
	return len(w.Blob) == kwp.WrappedSize(w.Spec.Bits()/8)
}

// unwrap makes a session object of the wrapped key. s may be a session that
// owns loaded keys, so it is not given up for a bad blob.
func (m *Module) unwrap(s *session, w hsm.Wrapped) (p11.ObjectHandle, error) {
	t, err := m.table(s)
	if err != nil {
		return 0, err
	}
	root, err := wrappingRoot(w.Level, w.Spec)
	if err != nil {
		return 0, err
	}
	under, err := t.root(w.Generation, root)
	if err != nil {
		return 0, fmt.Errorf("generation %d: %w", w.Generation, err)
	}
	if !blobFits(w) {
		return 0, hsm.ErrUnwrap
	}
	return m.open(s, t, under, w)
}

// object is a key that lives in the device.
type object struct {
	m       *Module
	wrapped hsm.Wrapped
	closed  atomic.Bool // refuses new uses; set by the first Close

	// users is held in part by each call with the key, and as a whole by who changes
	// what the handle means. It is no mutex, because one who closes the key must
	// not wait for ever for a call that was left inside the device.
	users  *semaphore.Weighted
	handle p11.ObjectHandle
	epoch  uint64 // in which the handle means this key
}

// blockObject is an AES key of the device.
type blockObject struct{ *object }

// EncryptBlocks takes more than the device does by splitting it.
func (k *blockObject) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	return k.m.encryptBlocks(ctx, dst, src, func(s *session, dst, src []byte) error {
		return k.use(ctx, func(h p11.ObjectHandle) error {
			return k.m.encrypt(s, h, dst, src)
		})
	})
}

// use runs f with a handle of the current epoch. The caller is inside the gate,
// so that epoch stays.
func (k *object) use(ctx context.Context, f func(h p11.ObjectHandle) error) error {
	if k.closed.Load() {
		return errKeyClosed
	}
	if err := k.users.Acquire(ctx, 1); err != nil {
		return err
	}
	if k.epoch != k.m.dev.epoch {
		k.users.Release(1)
		if err := k.reload(ctx); err != nil {
			return fmt.Errorf("loading the key again: %w", err)
		}
		if err := k.users.Acquire(ctx, 1); err != nil {
			return err
		}
	}
	defer k.users.Release(1)
	if k.closed.Load() {
		return errKeyClosed // the handle may mean something else by now
	}
	return f(k.handle)
}

// reload unwraps the key again; whoever comes first does it for all.
func (k *object) reload(ctx context.Context) error {
	if err := k.users.Acquire(ctx, everybody); err != nil {
		return err
	}
	defer k.users.Release(everybody)
	if k.closed.Load() || k.epoch == k.m.dev.epoch {
		return nil
	}
	return k.m.dev.on(ctx, k.m.dev.objects, func(s *session) error {
		h, err := k.m.unwrap(s, k.wrapped)
		if err == nil {
			k.handle, k.epoch = h, k.m.dev.epoch
		}
		return err
	})
}

// Close destroys the object once no call uses it. It waits for that no longer
// than the call timeout, since a call may have been left inside the device: the
// object then goes with its session, when the outage ends that such a call
// begins. A second Close does nothing.
func (k *object) Close() error {
	if k.closed.Swap(true) {
		return nil
	}
	dev := k.m.dev
	dev.counts.loaded.Add(-1)
	ctx, cancel := context.WithTimeout(context.Background(), dev.wait)
	defer cancel()
	_, err := dev.enter(ctx, dev.work, func(s *session) error {
		if k.users.Acquire(ctx, everybody) != nil {
			return dev.busy()
		}
		defer k.users.Release(everybody)
		if k.epoch != dev.epoch {
			return nil
		}
		return dev.api.DestroyObject(s.handle, k.handle)
	})
	// Without its login or its session the object is gone already, and an
	// outage ends with a new login.
	if err == nil || errors.Is(err, errModuleClosed) || faultOf(err) == faultLost || dev.outage() != nil {
		return nil
	}
	return fmt.Errorf("closing a key: %w", describe(err))
}

// Seal returns the key of root-seal of what is now the current generation.
func (m *Module) Seal(ctx context.Context) (hsm.Key, error) { return m.sealUnder(ctx, 0) }

func (m *Module) sealUnder(ctx context.Context, generation hsm.RootGeneration) (hsm.Key, error) {
	k := &seal{m: m}
	err := m.dev.call(ctx, m.dev.work, func(s *session) error {
		t, err := m.table(s)
		if err != nil {
			return err
		}
		k.generation = t.pick(generation)
		_, err = t.root(k.generation, hsm.RootSeal)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding the sealing root: %w", err)
	}
	return k, nil
}

// seal is the key of root-seal.
type seal struct {
	m          *Module
	generation hsm.RootGeneration
}

// EncryptBlocks takes more than the device does by splitting it.
func (k *seal) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	return k.m.encryptBlocks(ctx, dst, src, func(s *session, dst, src []byte) error {
		t, err := k.m.table(s)
		if err != nil {
			return err
		}
		h, err := t.root(k.generation, hsm.RootSeal)
		if err != nil {
			return err
		}
		return k.m.encrypt(s, h, dst, src)
	})
}

// Close does nothing: the root is the module's.
func (k *seal) Close() error { return nil }
