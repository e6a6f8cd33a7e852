package soft

import (
	"context"
	"crypto/aes"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/kwp"
)

// BackUpRoots implements [hsm.Module]. The module has no security officer, so
// the PIN is ignored.
func (m *Module) BackUpRoots(ctx context.Context, generation hsm.RootGeneration, recoveryKey, _ []byte) (hsm.RootBundle, error) {
	fail := func(err error) (hsm.RootBundle, error) {
		return hsm.RootBundle{}, fmt.Errorf("backing up the roots of generation %d: %w", generation, err)
	}
	if len(recoveryKey) != hsm.RecoveryKeySize || generation == 0 {
		return fail(hsm.ErrUnsupported)
	}
	block, err := aes.NewCipher(recoveryKey)
	if err != nil {
		return fail(err)
	}
	bundle := hsm.RootBundle{Generation: generation, Mechanism: hsm.MechanismRecovery, Wrapped: make(map[hsm.Root][]byte)}
	err = m.use(ctx, generation, func(s *rootSet) error {
		bundle.Cluster = m.cluster
		for _, root := range everyRoot {
			wrapped, err := kwp.Wrap(block, rootOf(s.raw.Bytes(), root))
			if err != nil {
				return err
			}
			bundle.Wrapped[root] = wrapped
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return bundle, nil
}

// RestoreRoots implements [hsm.Module].
func (m *Module) RestoreRoots(ctx context.Context, bundle hsm.RootBundle, recoveryKey []byte) error {
	done, err := m.change(ctx)
	if err != nil {
		return fmt.Errorf("restoring the roots: %w", err)
	}
	defer done()
	plain, err := unwrapBackup(bundle, recoveryKey)
	if err == nil {
		if err = m.add(bundle.Cluster, bundle.Generation, plain); err != nil {
			clear(plain)
		}
	}
	if err != nil {
		return fmt.Errorf("restoring the roots of generation %d: %w", bundle.Generation, err)
	}
	return nil
}

// unwrapBackup returns the four keys in their order.
func unwrapBackup(bundle hsm.RootBundle, recoveryKey []byte) ([]byte, error) {
	if bundle.Mechanism != hsm.MechanismRecovery || len(recoveryKey) != hsm.RecoveryKeySize {
		return nil, fmt.Errorf("wrapped with %q, not %s: %w", bundle.Mechanism, hsm.MechanismRecovery, hsm.ErrUnsupported)
	}
	if len(bundle.Wrapped) != len(everyRoot) {
		return nil, fmt.Errorf("%d keys instead of %d: %w", len(bundle.Wrapped), len(everyRoot), hsm.ErrUnwrap)
	}
	block, err := aes.NewCipher(recoveryKey)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, rootSetSize)
	for _, root := range everyRoot {
		key, err := kwp.Unwrap(block, bundle.Wrapped[root])
		if err != nil || len(key) != rootSize {
			clear(plain)
			clear(key)
			return nil, fmt.Errorf("key %d of the root set: %w", root, hsm.ErrUnwrap)
		}
		copy(rootOf(plain, root), key)
		clear(key)
	}
	return plain, nil
}
