package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/hsm/soft"
)

// openModule opens the HSM that the configuration chooses.
func openModule(ctx context.Context, c *config.Config, logger *slog.Logger) (hsm.Module, error) {
	ctx, cancel := context.WithTimeout(ctx, moduleTimeout)
	defer cancel()
	if c.Module.Kind == "pkcs11" {
		return openPKCS11(ctx, c.Module.PKCS11, logger)
	}
	unlock, err := config.FindSecret(c.Module.Soft.UnlockKeyFile, credentialsDirectory())
	if err != nil {
		return nil, fmt.Errorf("module.soft.unlock_key_file: %w", err)
	}
	return soft.Open(ctx, soft.Config{
		RootsFile:      c.Module.Soft.RootsFile,
		PrivateKeyFile: c.Module.Soft.PrivateKeyFile,
		UnlockKeyFile:  unlock.Path,
	})
}

func openPKCS11(ctx context.Context, p config.PKCS11, logger *slog.Logger) (hsm.Module, error) {
	for name, value := range p.Environment { // read by the vendor's library when it is loaded
		if err := os.Setenv(name, value); err != nil {
			return nil, fmt.Errorf("module.pkcs11.environment: setting %s: %w", name, err)
		}
	}
	return pkcs11.Open(ctx, pkcs11.Config{
		Library: p.Library, TokenLabel: p.TokenLabel, Logger: logger,
		PIN: func() ([]byte, error) {
			pin, err := config.ReadSecret(p.PINFile, credentialsDirectory())
			if err != nil {
				return nil, fmt.Errorf("module.pkcs11.pin_file: %w", err)
			}
			return pin, nil
		},
	})
}
