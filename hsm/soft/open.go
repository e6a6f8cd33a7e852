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

var errLocked = errors.New("the unlock key does not open the private key")

// Config says where the module keeps its files. The directories must exist;
// the three files lie on separate media, or they protect nothing.
type Config struct {
	// RootsFile holds the encrypted root keys. Its directory must be writable:
	// RootsFile.lock and, while roots are awaited, RootsFile.transport lie beside it.
	RootsFile string
	// PrivateKeyFile holds the encrypted private key for them. It is written once.
	PrivateKeyFile string
	// UnlockKeyFile holds 32 random bytes: the key to the private key file. It is
	// made on first use if it is missing; it may be a systemd credential.
	UnlockKeyFile string
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
	if c.RootsFile == "" || c.PrivateKeyFile == "" || c.UnlockKeyFile == "" {
		return nil, errors.New("opening the software module: the paths of the roots, private key and unlock key files must be given")
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
	if err := m.unlock(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the software module: %w", err), arena.Close(), lock.Close())
	}
	m.description = describe(c, m.vault)
	return m, nil
}

// unlock reads the three files, or makes them.
func (m *Module) unlock() error {
	c := m.config
	unlockKey, err := readUnlockKey(c.UnlockKeyFile)
	defer clear(unlockKey)
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
		return m.firstUse(unlockKey)
	case unlockKey == nil:
		return fmt.Errorf("the unlock key file %s is missing, and without it %s cannot be read: restore it", c.UnlockKeyFile, c.PrivateKeyFile)
	case roots == nil:
		return fmt.Errorf("the roots file %s is missing: restore it, or remove %s to begin anew and be given the roots by another node", c.RootsFile, c.PrivateKeyFile)
	}
	if m.vault, err = openVault(m.arena, unlockKey, private); errors.Is(err, errLocked) {
		return fmt.Errorf("the unlock key in %s does not open the private key in %s: one of them belongs to another module or is damaged", c.UnlockKeyFile, c.PrivateKeyFile)
	} else if err != nil {
		return fmt.Errorf("reading the private key file %s: %w", c.PrivateKeyFile, err)
	}
	if m.file, err = openRootsFile(m.vault, roots); errors.Is(err, errOtherVault) {
		return fmt.Errorf("the roots in %s were encrypted to another private key than the one in %s", c.RootsFile, c.PrivateKeyFile)
	} else if err != nil {
		return fmt.Errorf("reading the roots file %s: %w", c.RootsFile, err)
	}
	return nil
}

// firstUse makes what is missing, the private key last: as long as there is
// none, nothing can have been encrypted to it, and a crash on the way here
// leaves only what the next start may replace.
func (m *Module) firstUse(unlockKey []byte) error {
	c := m.config
	if unlockKey == nil {
		unlockKey = make([]byte, unlockKeySize)
		defer clear(unlockKey)
		if _, err := rand.Read(unlockKey); err != nil {
			return fmt.Errorf("drawing the unlock key: %w", err)
		}
		if err := writeFile(c.UnlockKeyFile, unlockKey); err != nil {
			return fmt.Errorf("writing the unlock key file: %w", err)
		}
	}
	var private []byte
	var err error
	if m.vault, private, err = newVault(m.arena, unlockKey); err != nil {
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

// readUnlockKey returns nil when there is no such file.
func readUnlockKey(name string) ([]byte, error) {
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
