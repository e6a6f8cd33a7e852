package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

func TestSecretsComeFromClosedFilesOnly(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f := func(name, directory, want, wantErr string) {
		t.Helper()
		got, err := config.ReadSecret(name, directory)
		if wantErr == "" {
			if err != nil || string(got) != want {
				t.Errorf("%s: got %q, %v", name, got, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%s: %v does not say %q", name, err, wantErr)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the error carries the secret: %v", name, err)
		}
	}
	f(put("closed", "hidden\n", 0o600), "", "hidden", "")
	f(put("read-only", "hidden\r\n", 0o400), "", "hidden", "")
	f(put("group", "hidden", 0o640), "", "", "open to group or others (mode 0640)")
	f(put("others", "hidden", 0o604), "", "", "open to group or others (mode 0604)")
	f(put("empty", "\n", 0o600), "", "", "is empty")
	f(put("large", strings.Repeat("hidden", 20000), 0o600), "", "", "is larger than")
	f(filepath.Join(dir, "absent"), "", "", "no such file")
	f(dir, "", "", "is a directory")
	// systemd gives credentials to an unprivileged service by an access
	// control list, whose mask shows as a group permission.
	put("credential", "hidden", 0o440)
	f("credential:credential", dir, "hidden", "")
	f("credential:credential", "", "", "CREDENTIALS_DIRECTORY is not set")
	f("credential:../closed", dir, "", "a plain file name")
	f("credential:", dir, "", "a plain file name")
}

func TestCheckSecretsNamesTheField(t *testing.T) {
	open := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(open, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	c := new(config.Config)
	c.Module.Kind = "pkcs11"
	c.Module.PKCS11.PINFile = open
	err := c.CheckSecrets("")
	if err == nil || !strings.HasPrefix(err.Error(), "module.pkcs11.pin_file: secret file") {
		t.Errorf("an open PIN file: %v", err)
	}
	c.Module.PKCS11.PINFile = "credential:pin"
	if err := c.CheckSecrets(""); err == nil {
		t.Error("a credential without a directory is accepted")
	}
	c.Module.Kind = "soft" // the PIN is not in use any more
	if err := c.CheckSecrets(""); err != nil {
		t.Error(err)
	}
}
