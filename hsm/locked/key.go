package locked

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"sync"
)

// MaxBlocks is the largest input of [Key.EncryptBlocks], in blocks of 16 bytes.
const MaxBlocks = 4096

// Key is an AES-256 key in locked memory. It satisfies hsm.Key and is safe for
// concurrent use; [Key.Close] waits for the calls that are inside.
type Key struct {
	arena *Arena

	mu       sync.RWMutex
	schedule *schedule // nil once closed
}

// NewKey makes a key of the 32 bytes of raw. It wipes raw whether it succeeds
// or not: from here on the only copy is the one in locked memory.
func (a *Arena) NewKey(raw []byte) (*Key, error) {
	defer clear(raw)
	if len(raw) != 32 {
		return nil, fmt.Errorf("making an AES-256 key: %d bytes instead of 32", len(raw))
	}
	// One lock over all of it: Close must not unmap the slot while it is filled,
	// nor miss the key.
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := newSchedule(a, raw)
	if err != nil {
		return nil, fmt.Errorf("making an AES-256 key: %w", err)
	}
	k := &Key{arena: a, schedule: s}
	a.keys[k] = struct{}{}
	return k, nil
}

// EncryptBlocks encrypts each block of 16 bytes of src by itself into dst. It
// takes from 1 to [MaxBlocks] blocks, and dst of the same length; dst and src
// overlap entirely or not at all. After Close it returns [ErrClosed].
func (k *Key) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(src) == 0 || len(src)%aes.BlockSize != 0 || len(src) > MaxBlocks*aes.BlockSize {
		return fmt.Errorf("encrypting blocks: %d bytes are not 1 to %d blocks", len(src), MaxBlocks)
	}
	if len(dst) != len(src) {
		return fmt.Errorf("encrypting blocks: room for %d bytes, input of %d", len(dst), len(src))
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.schedule == nil {
		return ErrClosed
	}
	for at := 0; at < len(src); at += aes.BlockSize {
		k.schedule.block.Encrypt(dst[at:at+aes.BlockSize], src[at:at+aes.BlockSize])
	}
	return nil
}

// Lend calls f with the AES cipher in locked memory, for what takes more than
// encrypting blocks (key wrapping). f must not keep the cipher, and must not
// use the key; Close waits for it. After Close it returns [ErrClosed].
func (k *Key) Lend(f func(block cipher.Block) error) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.schedule == nil {
		return ErrClosed
	}
	return f(k.schedule.block)
}

// Locked tells whether the key is in memory that is never swapped out.
func (k *Key) Locked() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.schedule != nil && k.schedule.buffer != nil && k.schedule.buffer.Locked()
}

// Close wipes the key after the calls inside have ended. A second Close does nothing.
func (k *Key) Close() error {
	k.shut()
	k.arena.mu.Lock()
	defer k.arena.mu.Unlock()
	delete(k.arena.keys, k)
	return nil
}

func (k *Key) shut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.schedule; s != nil {
		k.schedule = nil
		s.destroy()
	}
}
