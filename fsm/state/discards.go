package state

import (
	"crypto/sha256"
	"encoding/binary"
)

// Discard is what stays of wrapped material that has left the state while its
// key stays: imported material that was deleted or has expired, or the private
// half of a wrapping pair whose time is over. It holds no material. It is to the
// key what a [Tombstone] is to a deleted one, which takes its discards over.
type Discard struct {
	KeyID string `cbor:"1,keyasint"`
	Index uint64 `cbor:"2,keyasint"` // of the entry that discarded it, or carried it once more; every node erases what lies before it, and it
	At    int64  `cbor:"3,keyasint"`
	// Holders and Blobs are those of [Tombstone]. The number of a wrapping
	// pair's blob is 0.
	Holders []string    `cbor:"4,keyasint"`
	Blobs   []BlobPrint `cbor:"5,keyasint"`
}

// Is tells whether the print is that of the blob.
func (p BlobPrint) Is(blob []byte) bool {
	return int(p.Size) == len(blob) && p.Hash == sha256.Sum256(blob)
}

// Same tells whether two prints are of the same bytes.
func (p BlobPrint) Same(other BlobPrint) bool { return p.Size == other.Size && p.Hash == other.Hash }

func appendDiscardKey(dst []byte, keyID string, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, keyID...), index)
}

// PutDiscard writes what stays of discarded material.
func (x *Txn) PutDiscard(d *Discard) {
	put(x, TableDiscard, &x.discards, appendDiscardKey(nil, d.KeyID, d.Index), d)
	x.deletions.insert(appendDeletionKey(nil, d.Index, d.KeyID), d.KeyID)
}

// DeleteDiscard forgets what was discarded. That every node erases its files
// does not depend on it: only that somebody can look for the very bytes does.
func (x *Txn) DeleteDiscard(d *Discard) {
	remove(x, TableDiscard, &x.discards, appendDiscardKey(nil, d.KeyID, d.Index), d)
	x.deletions.remove(appendDeletionKey(nil, d.Index, d.KeyID))
}

// Discards returns what was discarded of a key, oldest first, in a new slice.
func (v *View) Discards(keyID string) []*Discard {
	return records(v.discards.under([]byte(keyID)))
}
