// Package device opens the HSM that a node's configuration names, for the node
// itself and for kmsctl.
package device

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/hsm/soft"
)

// Open opens the module that the configuration chooses. hung is told when a
// call hangs in the device for good; it may be nil.
func Open(ctx context.Context, c *config.Config, logger *slog.Logger, hung func(error)) (hsm.Module, error) {
	if c.Module.Kind == "soft" {
		return openSoft(ctx, c)
	}
	if err := SetEnvironment(c); err != nil {
		return nil, err
	}
	if c.Module.Second.TokenLabel != "" {
		return openPair(ctx, c, logger, hung)
	}
	return pkcs11.Open(ctx, PKCS11(c, logger, hung))
}

// openSoft takes as long as the person who is asked for a passphrase.
func openSoft(ctx context.Context, c *config.Config) (hsm.Module, error) {
	cfg, err := Soft(c)
	if err != nil {
		return nil, err
	}
	m, err := soft.Open(ctx, cfg)
	if err != nil {
		return nil, err // and no module that is nil inside
	}
	return m, nil
}

// Soft is the configuration of the embedded module.
func Soft(c *config.Config) (soft.Config, error) {
	s := c.Module.Soft
	cfg := soft.Config{RootsFile: s.RootsFile, PrivateKeyFile: s.PrivateKeyFile}
	if s.PassphraseFile != "" {
		cfg.Passphrase = Passphrase(s.PassphraseFile)
		return cfg, nil
	}
	unlock, err := config.FindSecret(s.UnlockKeyFile, credentialsDirectory())
	if err != nil {
		return soft.Config{}, fmt.Errorf("module.soft.unlock_key_file: %w", err)
	}
	cfg.UnlockKeyFile = unlock.Path
	return cfg, nil
}

// PKCS11 is the configuration of a PKCS#11 module.
func PKCS11(c *config.Config, logger *slog.Logger, hung func(error)) pkcs11.Config {
	return token("module.pkcs11", c.Module.PKCS11, logger, hung)
}

// Second is the configuration of the second PKCS#11 module; false without one.
func Second(c *config.Config, logger *slog.Logger, hung func(error)) (pkcs11.Config, bool) {
	second := c.Module.Second.Token(c.Module.PKCS11)
	return token("module.second", second, logger, hung), c.Module.Second.TokenLabel != ""
}

func token(field string, p config.PKCS11, logger *slog.Logger, hung func(error)) pkcs11.Config {
	return pkcs11.Config{
		Library: p.Library, TokenLabel: p.TokenLabel, Serial: p.Serial, Sessions: cmp.Or(p.Sessions, pkcs11.DefaultSessions()), CallLimit: p.CallLimit,
		OpenLimit: p.OpenLimit,
		Hung:      hung, Logger: logger,
		PIN: func() ([]byte, error) {
			pin, err := config.ReadSecret(p.PINFile, credentialsDirectory())
			if err != nil {
				return nil, fmt.Errorf("%s.pin_file: %w", field, err)
			}
			return pin, nil
		},
	}
}

// SetEnvironment sets the variables that the vendor's library reads when it is loaded.
func SetEnvironment(c *config.Config) error {
	for name, value := range c.Module.PKCS11.Environment {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("module.pkcs11.environment: setting %s: %w", name, err)
		}
	}
	return nil
}

// credentialsDirectory is where systemd puts the service's credentials.
func credentialsDirectory() string { return os.Getenv("CREDENTIALS_DIRECTORY") }
