package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// credentialPrefix marks the name of a systemd credential where a file is expected.
const credentialPrefix = "credential:"

// maxSecretBytes bounds a secret file.
const maxSecretBytes = 64 << 10

// SecretFile is where a secret lies, as the configuration names it.
type SecretFile struct {
	Path    string
	guarded bool // systemd keeps it: its directory is the protection, not its mode
}

// FindSecret resolves the name of a secret: a path, or credential:NAME for the
// systemd credential NAME in directory (the process's CREDENTIALS_DIRECTORY).
func FindSecret(name, directory string) (SecretFile, error) {
	credential, ok := strings.CutPrefix(name, credentialPrefix)
	if !ok {
		return SecretFile{Path: name}, nil
	}
	if directory == "" {
		return SecretFile{}, fmt.Errorf("%s: the process was given no credentials (CREDENTIALS_DIRECTORY is not set); use LoadCredential= in its systemd unit", name)
	}
	if credential == "" || credential != filepath.Base(credential) || credential == ".." || credential == "." {
		return SecretFile{}, fmt.Errorf("%s: a credential's name is a plain file name", name)
	}
	return SecretFile{Path: filepath.Join(directory, credential), guarded: true}, nil
}

// Check refuses a file that others than its owner can read. A file that is not
// there passes: whoever opens it says so, or makes it.
func (s SecretFile) Check() error {
	info, err := os.Stat(s.Path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the secret file: %w", err)
	}
	return s.checkMode(info)
}

func (s SecretFile) checkMode(info os.FileInfo) error {
	if info.IsDir() {
		return fmt.Errorf("%s is a directory, not a secret file", s.Path)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 && !s.guarded {
		return fmt.Errorf("secret file %s is open to group or others (mode %04o): run chmod 600 on it", s.Path, info.Mode().Perm())
	}
	return nil
}

// Read returns the secret without its trailing line break. The caller wipes it.
func (s SecretFile) Read() ([]byte, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, fmt.Errorf("opening the secret file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the secret file: %w", err)
	}
	if err := s.checkMode(info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the secret file: %w", err)
	}
	if len(text) > maxSecretBytes {
		return nil, fmt.Errorf("secret file %s is larger than %d bytes", s.Path, maxSecretBytes)
	}
	secret := bytes.TrimRight(text, "\r\n")
	if len(secret) == 0 {
		return nil, fmt.Errorf("secret file %s is empty", s.Path)
	}
	return secret, nil
}

// ReadSecret finds and reads a secret in one step.
func ReadSecret(name, directory string) ([]byte, error) {
	file, err := FindSecret(name, directory)
	if err != nil {
		return nil, err
	}
	return file.Read()
}

// CheckSecrets refuses secret files in use that others can read. directory is
// the process's CREDENTIALS_DIRECTORY.
func (c *Config) CheckSecrets(directory string) error {
	type secret struct{ field, name string }
	used := []secret{
		{"api.key_file", c.API.KeyFile},
		{"cluster.join_token_file", c.Cluster.JoinTokenFile},
	}
	switch c.Module.Kind {
	case "soft":
		used = append(used,
			secret{"module.soft.private_key_file", c.Module.Soft.PrivateKeyFile},
			secret{"module.soft.unlock_key_file", c.Module.Soft.UnlockKeyFile})
		if c.Module.Soft.PassphraseIsFile() {
			used = append(used, secret{"module.soft.passphrase_file", c.Module.Soft.PassphraseFile})
		}
	case "pkcs11":
		used = append(used, secret{"module.pkcs11.pin_file", c.Module.PKCS11.PINFile}, secret{"module.second.pin_file", c.Module.Second.PINFile})
	}
	for i, e := range c.Audit.Export {
		used = append(used,
			secret{fmt.Sprintf("audit.export[%d].secret_file", i), e.SecretFile},
			secret{fmt.Sprintf("audit.export[%d].authorization_file", i), e.AuthorizationFile},
			secret{fmt.Sprintf("audit.export[%d].key_file", i), e.KeyFile})
	}
	for _, s := range used {
		if s.name == "" {
			continue
		}
		file, err := FindSecret(s.name, directory)
		if err == nil {
			err = file.Check()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.field, err)
		}
	}
	return nil
}
