// Package softtest gives tests an embedded module of their own.
package softtest

import (
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
)

// Open opens a module without roots, which is closed when the test ends.
func Open(t testing.TB) hsm.Module {
	t.Helper()
	dir := t.TempDir()
	module, err := soft.Open(t.Context(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := module.Close(); err != nil {
			t.Error(err)
		}
	})
	return module
}
