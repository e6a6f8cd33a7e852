package huawei_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/hsm/soft"
)

// softModule is a module without a device, which ends with the test.
func softModule(t testing.TB) hsm.Module {
	t.Helper()
	dir := t.TempDir()
	module, err := soft.Open(t.Context(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return withRoots(t, module)
}

// softHSM is a module over a token of SoftHSM, which ends with the test. A
// process has one configuration of SoftHSM: tests that have one follow each other.
func softHSM(t *testing.T) hsm.Module {
	t.Helper()
	const label, officerPIN, userPIN = "dialect", "officer-1234", "user-5678"
	environment, err := pkcs11.CreateSoftHSMToken(t.TempDir(), label, []byte(officerPIN), []byte(userPIN))
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatal(err)
	}
	module, err := pkcs11.Open(t.Context(), pkcs11.Config{
		Library: library, TokenLabel: label, PIN: func() ([]byte, error) { return []byte(userPIN), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return withRoots(t, module)
}

// withRoots gives a module roots, and closes it at the end.
func withRoots(t testing.TB, module hsm.Module) hsm.Module {
	t.Helper()
	t.Cleanup(func() {
		if err := module.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := module.CreateRoots(t.Context(), hsm.ClusterID(uuid.MustParse(fsmtest.ClusterID)), 1); err != nil {
		t.Fatal(err)
	}
	return module
}

// thrifty is a module whose RSA pairs, which take it longer than all else, come
// again after a while: what is asked of a key is not told by another's.
type thrifty struct {
	hsm.Module

	mu   sync.Mutex
	made map[hsm.Level][]hsm.Wrapped
	next int
}

// pairsMade is how many pairs of a level come by turns.
const pairsMade = 4

// Under is the same module: it has one generation of roots.
func (m *thrifty) Under(hsm.RootGeneration) hsm.Module { return m }

func (m *thrifty) Generate(ctx context.Context, level hsm.Level, spec hsm.Spec) (hsm.Wrapped, error) {
	if spec != hsm.SpecRSA2048 {
		return m.Module.Generate(ctx, level, spec)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.made[level]) < pairsMade {
		pair, err := m.Module.Generate(ctx, level, spec)
		if err != nil {
			return hsm.Wrapped{}, err
		}
		if m.made == nil {
			m.made = map[hsm.Level][]hsm.Wrapped{}
		}
		m.made[level] = append(m.made[level], pair)
		return pair, nil
	}
	m.next++
	return m.made[level][m.next%pairsMade], nil
}
