package pkcs11

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Many may ask at the same time for the slots of a library that has found new
// tokens: SoftHSM would end the process.
func TestSlotsAreListedByManyAtOnce(t *testing.T) {
	path, err := FindSoftHSM()
	if err != nil {
		t.Fatal(err)
	}
	config, err := writeSoftHSMConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(softHSMConfig, config)
	for round := range 20 {
		lib, err := libraries.acquire(path)
		if err != nil {
			t.Fatal(err)
		}
		if lib.config != os.Getenv(softHSMConfig) {
			t.Fatalf("another test has %s open", lib.config)
		}
		var all sync.WaitGroup
		if err := initToken(lib, fmt.Sprint("token ", round), []byte("officer-1234"), []byte("user-5678")); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			all.Go(func() {
				if _, err := lib.slots(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := libraries.release(lib); err != nil {
			t.Fatal(err)
		}
	}
}
