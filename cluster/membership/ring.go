package membership

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// SetKeys has the node speak with one key, and understand another one besides
// while the key is rotated; other is nil otherwise. Both have 32 bytes.
func (g *Gossip) SetKeys(primary, other []byte) error {
	if len(primary) != KeySize || other != nil && len(other) != KeySize {
		return fmt.Errorf("a gossip key has %d bytes", KeySize)
	}
	g.ringMu.Lock()
	defer g.ringMu.Unlock()
	if err := setKeys(g.ring, bytes.Clone(primary), bytes.Clone(other)); err != nil {
		return fmt.Errorf("changing the gossip keys: %w", err)
	}
	return nil
}

// setKeys changes a ring of at most two keys into another one. memberlist reads
// the slice of keys without its lock, and RemoveKey moves what stands behind
// the key that goes, in place: so only the last one is ever removed.
func setKeys(ring *memberlist.Keyring, primary, other []byte) error {
	if now := ring.GetKeys(); len(now) == 2 && !bytes.Equal(now[1], primary) {
		if err := ring.RemoveKey(now[1]); err != nil {
			return err
		}
	}
	if err := errors.Join(ring.AddKey(primary), ring.UseKey(primary)); err != nil {
		return err
	}
	if now := ring.GetKeys(); len(now) == 2 && !bytes.Equal(now[1], other) {
		if err := ring.RemoveKey(now[1]); err != nil {
			return err
		}
	}
	if other == nil || bytes.Equal(other, primary) {
		return nil
	}
	return ring.AddKey(other)
}
