package pkcs11

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Two libraries that are initialised at the same time both find their tokens:
// SoftHSM reads its configuration with strtok, of which a process has one.
func TestLibrariesAreInitialisedInTurn(t *testing.T) {
	path, err := FindSoftHSM()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	environment, err := CreateSoftHSMToken(dir, "turns", []byte("officer-1234"), []byte("user-5678"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softHSMConfig, environment[softHSMConfig])
	copies := []string{filepath.Join(dir, "libfirst.so"), filepath.Join(dir, "libsecond.so")}
	for _, path := range copies {
		if err := os.WriteFile(path, code, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 300 {
		var both sync.WaitGroup
		for _, path := range copies {
			both.Go(func() {
				lib, err := libraries.acquire(path)
				if err != nil {
					t.Error(err)
					return
				}
				if slots, err := lib.slots(); err != nil || len(slots) != 2 { // the token, and room for another
					t.Errorf("%s has %d slots, %v", filepath.Base(path), len(slots), err)
				}
				if err := libraries.release(lib); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if t.Failed() {
			return
		}
	}
}
