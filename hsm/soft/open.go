package soft

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"github.com/raftkms/raftkms/hsm/locked"
)

// defaultLockedMemory holds about 120,000 loaded keys.
const defaultLockedMemory = 64 << 20

var errLocked = errors.New("the key does not open the private key")

// Config says where the module keeps its files. The directories must exist;
// the three files lie on separate media, or they protect nothing. The third
// place is a file or somebody's memory: UnlockKeyFile or Passphrase.
type Config struct {
	// RootsFile holds the encrypted root keys. Its directory must be writable:
	// RootsFile.lock and, while roots are awaited, RootsFile.transport lie beside it.
	RootsFile string
	// PrivateKeyFile holds the encrypted private key for them. It is written once.
	PrivateKeyFile string
	// UnlockKeyFile holds 32 random bytes: the key to the private key file. It is
	// made on first use if it is missing; it may be a systemd credential.
	UnlockKeyFile string
	// Passphrase gets what stands in for an unlock key, of at most
	// [MaxPassphrase] bytes; the module wipes it. With first it is to become the
	// passphrase of a new private key file, and has [MinPassphrase] characters at
	// least; who asks a person asks twice then.
	Passphrase func(ctx context.Context, first bool) ([]byte, error)
	// LockedMemory bounds the memory for keys, in bytes; a loaded key takes 512.
	// Zero means 64 MiB.
	LockedMemory int
}

// Open opens the module. On first use, when there are neither root keys nor a
// private key, it makes the files. Its errors name the file and what to do.
func Open(ctx context.Context, c Config) (*Module, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.RootsFile == "" || c.PrivateKeyFile == "" || (c.UnlockKeyFile == "") == (c.Passphrase == nil) {
		return nil, errors.New("opening the software module: the paths of the roots and private key files must be given, and that of the unlock key file or a passphrase")
	}
	if c.LockedMemory == 0 {
		c.LockedMemory = defaultLockedMemory
	}
	lock, err := lockFile(c.RootsFile + ".lock")
	if err != nil {
		return nil, fmt.Errorf("opening the software module: %w", err)
	}
	arena := locked.NewArena(c.LockedMemory)
	m := &Module{config: c, lock: lock, arena: arena}
	if err := m.unlock(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the software module: %w", err), arena.Close(), lock.Close())
	}
	m.description = describe(c, m.vault)
	return m, nil
}

// unlock reads the three files, or makes them.
func (m *Module) unlock(ctx context.Context) error {
	c := m.config
	key, err := readUnlockKey(c.UnlockKeyFile)
	defer clear(key)
	if err != nil {
		return err
	}
	private, err := readOptional(c.PrivateKeyFile)
	if err != nil {
		return fmt.Errorf("reading the private key: %w", err)
	}
	roots, err := readOptional(c.RootsFile)
	if err != nil {
		return fmt.Errorf("reading the roots: %w", err)
	}
	switch {
	case private == nil:
		if roots != nil && !emptyRoots(roots) {
			return fmt.Errorf("the private key file %s is missing, and without it %s cannot be read: restore it", c.PrivateKeyFile, c.RootsFile)
		}
		return m.firstUse(ctx, key)
	case key == nil && c.Passphrase == nil:
		return fmt.Errorf("the unlock key file %s is missing, and without it %s cannot be read: restore it", c.UnlockKeyFile, c.PrivateKeyFile)
	case roots == nil:
		return fmt.Errorf("the roots file %s is missing: restore it, or remove %s to begin anew and be given the roots by another node", c.RootsFile, c.PrivateKeyFile)
	}
	if err := m.unlockVault(ctx, key, private); err != nil {
		return err
	}
	if m.file, err = openRootsFile(m.vault, roots); errors.Is(err, errOtherVault) {
		return fmt.Errorf("the roots in %s were encrypted to another private key than the one in %s", c.RootsFile, c.PrivateKeyFile)
	} else if err != nil {
		return fmt.Errorf("reading the roots file %s: %w", c.RootsFile, err)
	}
	return nil
}

// unlockVault opens the private key file with the third place.
func (m *Module) unlockVault(ctx context.Context, key, private []byte) error {
	c := m.config
	by, err := m.third(ctx, key, false)
	if err != nil {
		return err
	}
	defer by.wipe()
	m.vault, err = openVault(m.arena, by, private)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errPassphraseFile):
		return fmt.Errorf("the private key in %s is encrypted under a passphrase, and the node was told to use an unlock key: name where the passphrase comes from", c.PrivateKeyFile)
	case errors.Is(err, errUnlockKeyFile):
		return fmt.Errorf("the private key in %s is encrypted under an unlock key, and the node was told to use a passphrase: name the unlock key file", c.PrivateKeyFile)
	case errors.Is(err, errLocked) && c.Passphrase != nil:
		return fmt.Errorf("the passphrase does not open the private key in %s: it is not the right one, or the file is damaged", c.PrivateKeyFile)
	case errors.Is(err, errLocked):
		return fmt.Errorf("the unlock key in %s does not open the private key in %s: one of them belongs to another module or is damaged", c.UnlockKeyFile, c.PrivateKeyFile)
	default:
		return fmt.Errorf("reading the private key file %s: %w", c.PrivateKeyFile, err)
	}
}

// third is the third place: the unlock key that was read, or the passphrase.
func (m *Module) third(ctx context.Context, key []byte, first bool) (unlocking, error) {
	if m.config.Passphrase == nil {
		return unlockKey(key), nil
	}
	return ask(ctx, m.config.Passphrase, first)
}

// firstUse makes what is missing, the private key last: as long as there is
// none, nothing can have been encrypted to it, and a crash on the way here
// leaves only what the next start may replace.
func (m *Module) firstUse(ctx context.Context, key []byte) error {
	c := m.config
	if key == nil && c.Passphrase == nil {
		var err error
		if key, err = newUnlockKey(c.UnlockKeyFile); err != nil {
			return err
		}
	}
	by, err := m.third(ctx, key, true)
	if err != nil {
		return err
	}
	defer by.wipe()
	var private []byte
	if m.vault, private, err = newVault(m.arena, by); err != nil {
		return err
	}
	if err := m.writeRoots(nil); err != nil {
		return err
	}
	if err := writeFile(c.PrivateKeyFile, private); err != nil {
		return fmt.Errorf("writing the private key file: %w", err)
	}
	return nil
}

// newUnlockKey makes an unlock key file.
func newUnlockKey(name string) ([]byte, error) {
	key := make([]byte, unlockKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("drawing the unlock key: %w", err)
	}
	if err := writeFile(name, key); err != nil {
		clear(key)
		return nil, fmt.Errorf("writing the unlock key file: %w", err)
	}
	return key, nil
}

// readUnlockKey returns nil when there is no such file, or none was named.
func readUnlockKey(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	key, err := readFile(name, ownerOrCredential)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the unlock key: %w", err)
	}
	if len(key) != unlockKeySize {
		clear(key)
		return nil, fmt.Errorf("the unlock key file %s holds %d bytes instead of %d: it is cut short or something else", name, len(key), unlockKeySize)
	}
	return key, nil
}

// readOptional returns nil when there is no such file.
func readOptional(name string) ([]byte, error) {
	b, err := readFile(name, ownerOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}
