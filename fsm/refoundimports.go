package fsm

import (
	"slices"

	"github.com/raftkms/raftkms/fsm/state"
)

// endImports does again to a key what was erased of it after the backup, and
// ends every import that is under way: how often its token has failed since
// nobody may know. It returns the key as it is then.
func (r *refounding) endImports(key *state.Key) *state.Key {
	if key.Origin != state.OriginExternal {
		return key
	}
	left := *key
	gone := dropPairs(&left, func(state.ImportPair) bool { return true })
	if len(key.ImportPairs) > 0 {
		r.undone.EndedImports = append(r.undone.EndedImports, key.ID)
	}
	if r.newer != nil {
		if now, there := r.newer.Key(key.ID); there {
			gone = append(gone, r.followMaterial(&left, now)...)
		}
	}
	if len(gone) > 0 {
		r.PutDiscard(&state.Discard{KeyID: key.ID, Index: r.index, At: r.Now(), Holders: []string{r.with.Node.ID}, Blobs: gone})
	}
	if len(left.ImportPairs) == len(key.ImportPairs) && left.State == key.State && left.PrimaryVersion == key.PrimaryVersion &&
		left.MaterialExpires == key.MaterialExpires && slices.Equal(left.Fingerprint, key.Fingerprint) {
		return key
	}
	left.Fence = r.index
	r.PutKey(&left)
	return &left
}

// followMaterial takes over what the newer state says of a key's material: that
// it is gone, that it ends sooner, and which alone may ever be imported.
func (r *refounding) followMaterial(key, now *state.Key) (gone []state.BlobPrint) {
	if len(key.Fingerprint) == 0 {
		key.Fingerprint = now.Fingerprint
	}
	switch {
	case key.PrimaryVersion == 0:
	case now.PrimaryVersion == 0:
		wasEnabled := r.with.KeepEnabled && !now.DisabledBefore
		gone = eraseMaterial(r.Txn, r.index, key)
		key.DisabledBefore = key.DisabledBefore || !wasEnabled
		r.undone.ErasedMaterial = append(r.undone.ErasedMaterial, key.ID)
	default:
		key.MaterialExpires = earlierEnd(key.MaterialExpires, now.MaterialExpires)
	}
	return gone
}

// earlierEnd returns which end comes first; 0 is never.
func earlierEnd(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
