package fsm

import (
	"crypto/sha256"
	"slices"

	"github.com/raftkms/raftkms/fsm/state"
)

// maxDiscards is how many discards of one key are kept, the newest ones: who
// asks for parameters again and again fills the state no further.
const maxDiscards = 64

// discard notes that wrapped material of a key that stays has left the state,
// so that every node erases its files, and it can be seen that they did.
func discard(c *call, keyID string, blobs ...state.BlobPrint) {
	if len(blobs) == 0 {
		return
	}
	earlier := c.Discards(keyID)
	if last := len(earlier) - 1; last >= 0 && earlier[last].Index == c.index { // this entry discards more than one thing
		blobs = slices.Concat(earlier[last].Blobs, blobs)
		earlier = earlier[:last]
	}
	for len(earlier) >= maxDiscards {
		c.DeleteDiscard(earlier[0])
		earlier = earlier[1:]
	}
	c.PutDiscard(&state.Discard{KeyID: keyID, Index: c.index, At: c.Now(), Holders: holders(c), Blobs: blobs})
}

// holders are the nodes that may hold in their files what leaves the state now.
func holders(c *call) []string {
	var ids []string
	for _, n := range c.Nodes() {
		ids = append(ids, n.ID)
	}
	return ids
}

// remains are the prints of all that there ever was of a key, and who may hold
// something of it.
func remains(c *call, key *state.Key) (nodes []string, blobs []state.BlobPrint) {
	nodes = holders(c)
	for _, v := range c.Versions(key.ID) {
		blobs = append(blobs, versionPrint(v))
	}
	for _, p := range key.ImportPairs {
		if !p.Ended() {
			blobs = append(blobs, pairPrint(p))
		}
	}
	for _, d := range c.Discards(key.ID) {
		blobs = append(blobs, d.Blobs...)
		nodes = append(nodes, d.Holders...)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes), blobs
}

// versionPrint recognises the wrapped material of a version.
func versionPrint(v *state.Version) state.BlobPrint {
	p := blobPrint(v.Number, v.RootGeneration, v.Blob)
	p.FirstGeneration = v.FirstGeneration
	return p
}

// pairPrint recognises the wrapped private half of a wrapping pair.
func pairPrint(p state.ImportPair) state.BlobPrint { return blobPrint(0, p.RootGeneration, p.Blob) }

func blobPrint(number, generation uint32, blob []byte) state.BlobPrint {
	return state.BlobPrint{Number: number, RootGeneration: generation, Size: uint32(len(blob)), Hash: sha256.Sum256(blob)}
}
