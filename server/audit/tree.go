package audit

import (
	"crypto/sha256"
	"hash"
	"math/bits"
	"slices"
)

// tree is the right edge of a Merkle tree (RFC 6962, as golang.org/x/mod's tlog
// has it) over the hashes of lines, records and marks: enough to add lines and
// to know the root. Every segment's header carries the edge that it begins
// with, so that a log goes on, and is checked, from any segment.
//
// A tree begins with the first line of a log. It begins anew where a log is
// damaged before its end, since what was there cannot be hashed any more; the
// checkpoints of the old tree stay, and contradict the log.
type tree struct {
	from uint64             // sequence of the first line
	size uint64             // lines
	edge [maxTreeLevel]Hash // of complete subtrees of 2^level lines, where size has that bit
}

const maxTreeLevel = 60

// add adds the line with a hash. Where g is not nil, it notes how the tree grows.
func (t *tree) add(d *hasher, line Hash, g *growth) {
	node := d.treeHash(0, line[:], nil)
	level := 0
	for ; t.size>>level&1 == 1; level++ {
		if g != nil {
			g.note(level, t.size, node)
		}
		node = d.treeHash(1, t.edge[level][:], node[:])
	}
	t.edge[level] = node
	t.size++
}

// root is the tree's hash.
func (t *tree) root(d *hasher) Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	level := bits.TrailingZeros64(t.size)
	node := t.edge[level]
	for level++; level < bits.Len64(t.size); level++ {
		if t.size>>level&1 == 1 {
			node = d.treeHash(1, t.edge[level][:], node[:])
		}
	}
	return node
}

// same tells whether two trees have the same lines.
func (t *tree) same(other *tree) bool {
	return t.from == other.from && t.size == other.size && slices.Equal(t.hashes(), other.hashes())
}

// hashes are those of the edge, the largest subtree first.
func (t *tree) hashes() []Hash {
	var all []Hash
	for level := bits.Len64(t.size) - 1; level >= 0; level-- {
		if t.size>>level&1 == 1 {
			all = append(all, t.edge[level])
		}
	}
	return all
}

// treeOf is the tree that has that edge when the line next comes; it is not ok
// when there is none.
func treeOf(from, next uint64, edge []Hash) (t tree, ok bool) {
	if from == 0 || from > next || next > maxSequence || bits.OnesCount64(next-from) != len(edge) {
		return tree{}, false
	}
	t.from, t.size = from, next-from
	at := 0
	for level := bits.Len64(t.size) - 1; level >= 0; level-- {
		if t.size>>level&1 == 1 {
			t.edge[level] = edge[at]
			at++
		}
	}
	return t, true
}

// hasher is SHA-256 with what it needs, so that a hash allocates nothing.
type hasher struct {
	hash.Hash
	input [1 + 2*sha256.Size]byte
	sum   Hash
}

// treeHash is the hash of a leaf (kind 0) or of a node (kind 1).
func (d *hasher) treeHash(kind byte, left, right []byte) Hash {
	input := append(append(append(d.input[:0], kind), left...), right...)
	d.Reset()
	d.Write(input)
	d.Sum(d.sum[:0])
	return d.sum
}
