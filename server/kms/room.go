package kms

import (
	"context"
	"errors"

	"github.com/raftkms/raftkms/hsm"
)

// withRoom has the module do what takes room in it, if only for a moment, and
// gives up loaded keys, the one that nobody has used for the longest time first,
// while it has none. do may run several times.
func withRoom[T any](k *keyring, do func() (T, error)) (T, error) {
	for {
		v, err := do()
		if !errors.Is(err, hsm.ErrFull) || !k.shed(errors.Is(err, hsm.ErrMemory)) {
			return v, err
		}
	}
}

// loadMaterial brings material into use.
func (k *keyring) loadMaterial(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	return withRoom(k, func() (hsm.Loaded, error) { return k.module.Load(ctx, w) })
}

// shed gives up the key that nobody has used for the longest time, of those that
// lie in this process's memory or of those in a device, and tells whether there
// was one.
func (k *keyring) shed(memory bool) bool {
	k.mu.Lock()
	defer k.unlock()
	for e := k.recent.Back(); e != nil; e = e.Prev() {
		l := e.Value.(*loadedKey)
		if inMemory := k.device == nil || l.level == hsm.LevelSoftware; l.users == 0 && inMemory == memory {
			k.retire(e)
			return true
		}
	}
	return false
}

// reloaded is a key of a device. After a loss, or in the other of two devices, it
// has to be loaded again when it is used, and that takes room.
type reloaded struct {
	hsm.Key
	ring *keyring
}

// EncryptBlocks implements [hsm.Key].
func (r reloaded) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	_, err := withRoom(r.ring, func() (struct{}, error) { return struct{}{}, r.Key.EncryptBlocks(ctx, dst, src) })
	return err
}
