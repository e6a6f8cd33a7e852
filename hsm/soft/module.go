package soft

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/softkey"
)

// Module is the embedded module. It starts no goroutines.
type Module struct {
	config      Config
	description hsm.Description // without what can still change
	arena       *locked.Arena
	lock        *os.File

	// changes is held through every change of the files, across the slow parts;
	// it is taken before mu.
	changes sync.Mutex
	vault   *vault
	file    []rootEntry // the roots file as it is on disk

	// mu is held for reading through every use of a root set.
	mu      sync.RWMutex
	closed  bool
	cluster hsm.ClusterID
	sets    map[hsm.RootGeneration]*rootSet // of cluster
	current *rootSet                        // the one with the highest generation, or nil
}

var (
	_ hsm.Module = (*Module)(nil)
	_ hsm.Key    = (*locked.Key)(nil)
)

var errClosed = fmt.Errorf("%w: it is closed", hsm.ErrUnavailable)

func describe(c Config, v *vault) hsm.Description {
	serial := sha256.Sum256(v.public)
	d := hsm.Description{
		Kind:         "soft",
		Manufacturer: "raftkms",
		Model:        "embedded module",
		Serial:       hex.EncodeToString(serial[:8]),
		MaxBlocks:    locked.MaxBlocks,
		Capabilities: softkey.Capabilities(),
		Notes:        []string{"The module is software: the level HSM means no device boundary here."},
	}
	switch {
	case c.Passphrase != nil:
		d.Notes = append(d.Notes, "The private key is encrypted under a passphrase (Argon2id), which is asked for at every start.")
	case onOneMedium(c.RootsFile, c.PrivateKeyFile, c.UnlockKeyFile):
		d.Notes = append(d.Notes, "The files of the roots, the private key and the unlock key lie on one file system; they protect only on separate media.")
	}
	return d
}

// Describe implements [hsm.Module].
func (m *Module) Describe() hsm.Description {
	d := m.description
	d.Notes, d.Capabilities = slices.Clone(d.Notes), slices.Clone(d.Capabilities)
	if !m.arena.Locked() {
		d.Notes = append(d.Notes, "The limit on locked memory (RLIMIT_MEMLOCK) is too low: keys may be written to swap.")
	}
	return d
}

// use calls f with the generation's root set, which stays until f returns.
// Generation 0 means the current one.
func (m *Module) use(ctx context.Context, generation hsm.RootGeneration, f func(s *rootSet) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return errClosed
	}
	s := m.current
	if generation != 0 {
		s = m.sets[generation]
	}
	if s == nil {
		return hsm.ErrNoRoots
	}
	return f(s)
}

// Generate implements [hsm.Module].
func (m *Module) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	return m.generate(ctx, 0, level, spec)
}

func (m *Module) generate(ctx context.Context, generation hsm.RootGeneration, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	if err := supported(level, spec); err != nil {
		return hsm.Wrapped{}, fmt.Errorf("generating a key: %w", err)
	}
	material, public, err := softkey.Generate(spec)
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("generating a key: %w", err)
	}
	defer clear(material)
	w := hsm.Wrapped{Level: level, Spec: spec, PublicKey: public}
	err = m.use(ctx, generation, func(s *rootSet) (err error) {
		w.Generation = s.generation
		w.Blob, err = s.wrap(level, material)
		return err
	})
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("generating a key: %w", err)
	}
	return w, nil
}

// Import implements [hsm.Module].
func (m *Module) Import(ctx context.Context, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	return m.importUnder(ctx, 0, level, spec, material)
}

func (m *Module) importUnder(ctx context.Context, generation hsm.RootGeneration, level hsm.Level, spec hsm.Spec, material []byte) (hsm.Wrapped, error) {
	defer clear(material)
	if err := supported(level, spec); err != nil {
		return hsm.Wrapped{}, fmt.Errorf("importing a key: %w", err)
	}
	own, public, err := softkey.Imported(spec, material)
	defer clear(own)
	w := hsm.Wrapped{Level: level, Spec: spec, PublicKey: public}
	if err == nil {
		err = m.use(ctx, generation, func(s *rootSet) (err error) {
			w.Generation = s.generation
			w.Blob, err = s.wrap(level, own)
			return err
		})
	}
	if err != nil {
		return hsm.Wrapped{}, fmt.Errorf("importing a key: %w", err)
	}
	return w, nil
}

// Load implements [hsm.Module].
func (m *Module) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	if err := supported(w.Level, w.Spec); err != nil {
		return nil, fmt.Errorf("loading a key: %w", err)
	}
	if w.Generation == 0 {
		return nil, fmt.Errorf("loading a key: generation 0: %w", hsm.ErrNoRoots)
	}
	var key hsm.Loaded
	err := m.use(ctx, w.Generation, func(s *rootSet) error {
		material, err := s.unwrap(w.Level, w.Blob)
		if err != nil {
			return err
		}
		key, err = softkey.Load(m.arena, w, material)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("loading a key of root generation %d: %w", w.Generation, err)
	}
	return key, nil
}

// Seal implements [hsm.Module].
func (m *Module) Seal(ctx context.Context) (hsm.Key, error) { return m.sealUnder(ctx, 0) }

func (m *Module) sealUnder(ctx context.Context, generation hsm.RootGeneration) (hsm.Key, error) {
	var key hsm.Key
	err := m.use(ctx, generation, func(s *rootSet) error {
		key = ownedKey{s.seal}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("finding the sealing root: %w", err)
	}
	return key, nil
}

// ownedKey is a key that the module closes, not the caller.
type ownedKey struct{ *locked.Key }

func (ownedKey) Close() error { return nil }

// MAC implements [hsm.Module].
func (m *Module) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return m.macUnder(ctx, 0, message)
}

func (m *Module) macUnder(ctx context.Context, generation hsm.RootGeneration, message []byte) ([]byte, error) {
	var mac []byte
	err := m.use(ctx, generation, func(s *rootSet) error {
		mac = s.mac(message)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making a MAC: %w", err)
	}
	return mac, nil
}

// VerifyMAC implements [hsm.Module].
func (m *Module) VerifyMAC(ctx context.Context, message, mac []byte) error {
	return m.use(ctx, 0, func(*rootSet) error {
		for _, s := range m.sets {
			if hmac.Equal(s.mac(message), mac) {
				return nil
			}
		}
		return hsm.ErrMAC
	})
}

// Random implements [hsm.Module]. The generator is that of the operating system.
func (m *Module) Random(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return errClosed
	}
	if _, err := rand.Read(p); err != nil {
		return fmt.Errorf("drawing random bytes: %w", err)
	}
	return nil
}

// Check implements [hsm.Module].
func (m *Module) Check(ctx context.Context) error {
	return m.use(ctx, 0, func(s *rootSet) error {
		block := []byte("raftkms check 16")
		return s.seal.EncryptBlocks(ctx, block, block)
	})
}

// Close implements [hsm.Module]. Keys still loaded are closed with it.
func (m *Module) Close() error {
	m.changes.Lock()
	defer m.changes.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.sets, m.current = nil, nil
	return errors.Join(m.arena.Close(), m.lock.Close())
}

func supported(level hsm.Level, spec hsm.Spec) error {
	if level != hsm.LevelHSM && level != hsm.LevelSoftware {
		return fmt.Errorf("protection level %d: %w", level, hsm.ErrUnsupported)
	}
	switch {
	case spec.Family() == 0:
		return fmt.Errorf("key spec %q: %w", spec, hsm.ErrUnsupported)
	case level == hsm.LevelHSM && spec.SoftwareOnly():
		return fmt.Errorf("key spec %s is carried at SOFTWARE level only: %w", spec, hsm.ErrUnsupported)
	}
	return nil
}
