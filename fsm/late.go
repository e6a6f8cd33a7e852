package fsm

import (
	"bytes"
	"slices"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// maxPrints is how many prints the tombstone of one key grows to with what comes
// late. What is beyond is erased all the same, and looked for no more.
const maxPrints = 2 * maxVersions

// eraseLate has every node erase its files once more when a command came after
// the end of something that it carries: wrapped material of a key that was
// deleted, or imported material or a wrapping pair that its key does not have.
// The command may be a repeat, something that was put under other roots before
// the deletion, or be refused: whatever it is answered, its bytes are in the log
// of every node, behind what that node has erased.
func eraseLate(c *call, body command.Body) {
	b, carries := body.(command.WithMaterial)
	if !carries {
		return
	}
	for all := b.Material(); len(all) > 0; {
		keyID, blobs := all[0].KeyID, []state.BlobPrint(nil)
		stone, deleted := c.Tombstone(keyID)
		for len(all) > 0 && all[0].KeyID == keyID { // what is of one key mostly lies together
			if m := all[0]; deleted || hasEnded(c, m) {
				blobs = append(blobs, blobPrint(m.Number, m.RootGeneration, m.Blob))
			}
			all = all[1:]
		}
		switch {
		case deleted:
			eraseAgain(c, *stone, blobs)
		case len(blobs) > 0:
			discardAgain(c, keyID, blobs)
		}
	}
}

// hasEnded tells whether material is not that of a key which is there: where it
// comes from elsewhere, it can end while its key stays. As long as another wrapping of it is
// there, its end is still to come, and what is in the logs ends with it.
func hasEnded(c *call, m command.Material) bool {
	key, ok := c.Key(m.KeyID)
	if !ok || key.Origin != state.OriginExternal {
		return false
	}
	if m.Number == 0 {
		return !slices.ContainsFunc(key.ImportPairs, func(p state.ImportPair) bool { return bytes.Equal(p.Blob, m.Blob) })
	}
	_, there := c.Version(m.KeyID, m.Number)
	return !there
}

// eraseAgain has a deleted key erased up to this entry.
func eraseAgain(c *call, stone state.Tombstone, late []state.BlobPrint) {
	stone.Index = c.index
	stone.Holders = bothHolders(stone.Holders, holders(c))
	stone.Blobs = slices.Clone(stone.Blobs)
	for _, p := range late {
		if len(stone.Blobs) < maxPrints && !slices.ContainsFunc(stone.Blobs, p.Same) {
			stone.Blobs = append(stone.Blobs, p)
		}
	}
	c.PutTombstone(&stone)
}

// discardAgain is [discard] of what may have been discarded before: what earlier
// discards say of it goes over, so that repeats do not push out others.
func discardAgain(c *call, keyID string, late []state.BlobPrint) {
	var blobs []state.BlobPrint
	for _, p := range late {
		if !slices.ContainsFunc(blobs, p.Same) {
			blobs = append(blobs, p)
		}
	}
	var held []string
	for _, d := range c.Discards(keyID) {
		left := *d
		left.Blobs = slices.DeleteFunc(slices.Clone(d.Blobs), func(p state.BlobPrint) bool { return slices.ContainsFunc(blobs, p.Same) })
		if len(left.Blobs) == len(d.Blobs) {
			continue
		}
		held = append(held, d.Holders...)
		if c.DeleteDiscard(d); len(left.Blobs) > 0 {
			c.PutDiscard(&left)
		}
	}
	discard(c, keyID, blobs...)
	if len(held) > 0 {
		all := c.Discards(keyID)
		last := *all[len(all)-1]
		last.Holders = bothHolders(last.Holders, held)
		c.PutDiscard(&last)
	}
}

// bothHolders are the nodes of both lists, each once.
func bothHolders(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
