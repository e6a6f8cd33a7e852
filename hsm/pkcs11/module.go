package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	p11 "github.com/miekg/pkcs11"
	"golang.org/x/sync/semaphore"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
)

const (
	keySize   = 32 // bytes of AES-256
	blockSize = 16
	macSize   = 32
	// randomChunk is how many bytes are asked for in one C_GenerateRandom.
	randomChunk = 16 << 10
)

// Module is one token. It implements [hsm.Module].
type Module struct {
	dev   *device
	admin *semaphore.Weighted // makes, moves and destroys roots one after the other
	arena *locked.Arena
	log   *slog.Logger

	// Known once the module is open.
	about         hsm.Description // without the notes about the roots
	refused       []uint          // attributes that keys are made without
	keyWrap       uint            // the mechanism of key wrapping
	blocksOffered bool            // CKM_AES_ECB is there
	can           *abilities      // with pairs and MAC keys

	roots     atomic.Pointer[rootTable] // nil until roots were opened or made
	rootsLock sync.Mutex                // held by who replaces roots

	bridgeLock sync.Mutex
	bridge     bridge // see rewrap.go

	notesLock sync.Mutex
	rootNotes []string
}

var _ hsm.Module = (*Module)(nil)

// Describe returns what was learnt when the module and its roots were opened.
func (m *Module) Describe() hsm.Description {
	m.notesLock.Lock()
	defer m.notesLock.Unlock()
	d := m.about
	d.Notes = slices.Concat(m.about.Notes, m.rootNotes)
	d.Capabilities = slices.Clone(m.about.Capabilities)
	return d
}

// Close ends the sessions, and with them the login and the loaded keys, once no
// call is inside the device. A second Close does nothing. When a call stays
// inside for longer than the call timeout, Close returns [hsm.ErrUnavailable]
// and leaves that call what it may use when it wakes, the library and the memory:
// to take these away would crash the process. A later Close may then do the rest.
// The same happens when the library hangs in a call with which it is left, which
// the error names.
func (m *Module) Close() error {
	left, err := m.dev.close()
	if left {
		m.arena.Shut()
		return err
	}
	return errors.Join(err, m.arena.Close())
}

// Check signs a few bytes under the record MAC key.
func (m *Module) Check(ctx context.Context) error {
	// Nothing that Binding or Canary sign begins with these bytes.
	if _, err := m.mac(ctx, 0, []byte("raftkms check")); err != nil {
		return fmt.Errorf("checking the module: %w", err)
	}
	return nil
}

// probe is what tells a device that works from one that does not: its
// generator, and a signature where the roots are known.
func (m *Module) probe(s *session) error {
	var some [8]byte
	if err := m.dev.api.RandomInto(s.handle, some[:]); err != nil {
		return err
	}
	if m.roots.Load() == nil {
		return nil
	}
	t, err := m.table(s)
	if err != nil {
		return err
	}
	key, err := t.root(t.current, hsm.RecordMAC)
	if errors.Is(err, hsm.ErrNoRoots) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = m.sign(s, key, []byte("raftkms check"))
	return err
}

// Random fills p from the generator of the device.
func (m *Module) Random(ctx context.Context, p []byte) error {
	if len(p) == 0 {
		return ctx.Err()
	}
	for chunk := range slices.Chunk(p, randomChunk) {
		err := m.dev.call(ctx, m.dev.work, func(s *session) error {
			return m.dev.api.RandomInto(s.handle, chunk)
		})
		if err != nil {
			return fmt.Errorf("drawing random bytes: %w", err)
		}
	}
	return nil
}

// MAC signs with CKM_SHA256_HMAC under the record MAC key of the current root set.
func (m *Module) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return m.macUnder(ctx, 0, message)
}

func (m *Module) macUnder(ctx context.Context, generation hsm.RootGeneration, message []byte) ([]byte, error) {
	mac, err := m.mac(ctx, generation, message)
	if err != nil {
		return nil, fmt.Errorf("signing a record: %w", err)
	}
	return mac, nil
}

func (m *Module) mac(ctx context.Context, generation hsm.RootGeneration, message []byte) (mac []byte, err error) {
	err = m.dev.call(ctx, m.dev.work, func(s *session) error {
		t, err := m.table(s)
		if err != nil {
			return err
		}
		key, err := t.root(t.pick(generation), hsm.RecordMAC)
		if err != nil {
			return err
		}
		mac, err = m.sign(s, key, message)
		return err
	})
	return mac, err
}

func (m *Module) sign(s *session, key p11.ObjectHandle, message []byte) ([]byte, error) {
	if err := m.dev.api.SignInit(s.handle, mechanism(p11.CKM_SHA256_HMAC), key); err != nil {
		return nil, err
	}
	mac, err := m.dev.api.Sign(s.handle, message)
	if err == nil && len(mac) != macSize {
		return nil, fmt.Errorf("%w: an HMAC-SHA-256 of %d bytes", hsm.ErrUnsupported, len(mac))
	}
	return mac, err
}

// VerifyMAC has the device compare. While roots are rotated, what either
// generation of the cluster has signed is accepted.
func (m *Module) VerifyMAC(ctx context.Context, message, mac []byte) error {
	err := m.dev.call(ctx, m.dev.work, func(s *session) error {
		t, err := m.table(s)
		if err != nil {
			return err
		}
		generations := t.generations()
		if len(generations) == 0 {
			return hsm.ErrNoRoots
		}
		if len(mac) != macSize {
			return hsm.ErrMAC
		}
		for _, g := range generations {
			if err := m.verify(s, t.sets[g][hsm.RecordMAC], message, mac); !errors.Is(err, hsm.ErrMAC) {
				return err
			}
		}
		return hsm.ErrMAC
	})
	if err != nil {
		return fmt.Errorf("verifying a record: %w", err)
	}
	return nil
}

func (m *Module) verify(s *session, key p11.ObjectHandle, message, mac []byte) error {
	if err := m.dev.api.VerifyInit(s.handle, mechanism(p11.CKM_SHA256_HMAC), key); err != nil {
		return err
	}
	err := m.dev.api.Verify(s.handle, message, mac)
	if hasCode(err, p11.CKR_SIGNATURE_INVALID, p11.CKR_SIGNATURE_LEN_RANGE) {
		return hsm.ErrMAC
	}
	return err
}
