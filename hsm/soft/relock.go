package soft

import (
	"context"
	"errors"
	"fmt"
)

// Third is the third place: one of the two.
type Third struct {
	// UnlockKeyFile is as in [Config]: made if it is missing.
	UnlockKeyFile string
	// Passphrase is as in [Config]; it is asked as for a first use.
	Passphrase func(ctx context.Context, first bool) ([]byte, error)
}

// Relock puts the private key of a module that is not open under another third
// place: another passphrase, another unlock key file, or one instead of the
// other. Roots and private key stay what they are, so whoever has a copy of the
// old private key file, and the old third place, opens it still. When it fails
// the old third place counts on.
func Relock(ctx context.Context, c Config, to Third) (err error) {
	if (to.UnlockKeyFile == "") == (to.Passphrase == nil) {
		return errors.New("another third place must be given: an unlock key file or a passphrase")
	}
	if to.UnlockKeyFile != "" && to.UnlockKeyFile == c.UnlockKeyFile {
		return fmt.Errorf("the new unlock key file must be another one than %s: if the machine stopped half-way, neither key would be there", c.UnlockKeyFile)
	}
	private, err := readOptional(c.PrivateKeyFile)
	if err != nil {
		return fmt.Errorf("reading the private key: %w", err)
	}
	if private == nil {
		return fmt.Errorf("there is no private key in %s yet: start the node once", c.PrivateKeyFile)
	}
	m, err := Open(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.relock(ctx, to); err != nil {
		return fmt.Errorf("putting the private key under another third place: %w", err)
	}
	return nil
}

func (m *Module) relock(ctx context.Context, to Third) error {
	done, err := m.change(ctx)
	if err != nil {
		return err
	}
	defer done()
	by, err := to.open(ctx)
	if err != nil {
		return err
	}
	defer by.wipe()
	contents, err := sealPrivateKey(m.vault.private.Bytes(), m.vault.public, by)
	if err != nil {
		return err
	}
	return writeFile(m.config.PrivateKeyFile, contents)
}

// open gets what a new private key file is to be encrypted under.
func (t Third) open(ctx context.Context) (unlocking, error) {
	if t.Passphrase != nil {
		return ask(ctx, t.Passphrase, true)
	}
	key, err := readUnlockKey(t.UnlockKeyFile)
	if err == nil && key == nil {
		key, err = newUnlockKey(t.UnlockKeyFile)
	}
	return unlockKey(key), err
}
