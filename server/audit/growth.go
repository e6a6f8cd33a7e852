package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Step proves that a tree has grown from a smaller one, and changed nothing
// of it: the consistency proof of RFC 6962 §2.1.2, as tlog has it.
type Step struct {
	Size  uint64 `json:"size"`  // lines of the smaller tree
	Root  Hash   `json:"root"`  // of the smaller tree
	Proof []Hash `json:"proof"` // what leads from there to the next tree
}

// maxProof bounds the hashes of one proof: two for each level.
const maxProof = 2 * maxTreeLevel

// Errors of [Checkpoint.Grew] and [Log.Prove].
var (
	// ErrUnproved: the steps do not begin at the checkpoint that was kept.
	ErrUnproved = errors.New("there is no proof that leads from the checkpoint that was kept to this one")
	// ErrForked: what a proof leads to is another tree.
	ErrForked = errors.New("the log does not hold the lines of the checkpoint that was kept")
	// ErrProofCost: too many lines would have to be read.
	ErrProofCost = errors.New("too much was written since to prove it by reading it all")
)

// Grew verifies by steps, the oldest first, that a checkpoint is of the tree of
// one that was kept, grown since. Both are of one log, and of one tree.
// Errors: [ErrUnproved], [ErrForked].
func (c *Checkpoint) Grew(kept Checkpoint, steps []Step) error {
	if c.Log != kept.Log || c.From != kept.From || c.Size < kept.Size || c.Size > maxSequence {
		return ErrUnproved
	}
	first := slices.IndexFunc(steps, func(s Step) bool { return s.Size == kept.Size })
	switch {
	case c.Size == kept.Size && c.Root == kept.Root:
		return nil
	case c.Size == kept.Size:
		return ErrForked
	case first < 0:
		return ErrUnproved
	case steps[first].Root != kept.Root:
		return ErrForked
	}
	for i := first; i < len(steps); i++ {
		size, root := c.Size, c.Root
		if i+1 < len(steps) {
			size, root = steps[i+1].Size, steps[i+1].Root
		}
		if size > c.Size || len(steps[i].Proof) > maxProof {
			return ErrForked
		}
		proof := make(tlog.TreeProof, len(steps[i].Proof))
		for j, h := range steps[i].Proof {
			proof[j] = tlog.Hash(h)
		}
		if err := tlog.CheckTree(proof, int64(size), tlog.Hash(root), int64(steps[i].Size), tlog.Hash(steps[i].Root)); err != nil {
			return ErrForked
		}
	}
	return nil
}

// growth is what has to be kept of a tree that grows, so that its growth can be
// proved at any time: the edge that it had, and of what came since the complete
// subtrees to the right of those that its last line was in. That is a hash a
// level, and costs an append nothing but a look wherever two subtrees become one.
type growth struct {
	base  tree // size 0: none
	root  Hash // of base
	right [maxTreeLevel]Hash
}

// begin has what comes now proved from here on.
func (g *growth) begin(t *tree, d *hasher) { g.base, g.root = *t, t.root(d) }

// note is told of a complete subtree of 2^level lines, that ends before the line
// with the index at, when it is joined with the one to its left.
func (g *growth) note(level int, at uint64, node Hash) {
	if g.base.size > 0 && (g.base.size-1)>>level+1 == at>>level {
		g.right[level] = node
	}
}

// step proves that now has grown from the base.
func (g *growth) step(now *tree) (Step, error) {
	if g.base.size == 0 || g.base.from != now.from || g.base.size > now.size {
		return Step{}, ErrUnproved
	}
	proof, err := tlog.ProveTree(int64(now.size), int64(g.base.size), tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			h, ok := g.node(now, level, uint64(n))
			if !ok {
				return nil, fmt.Errorf("the node %d of level %d is not kept", n, level)
			}
			hashes[i] = tlog.Hash(h)
		}
		return hashes, nil
	}))
	if err != nil {
		return Step{}, fmt.Errorf("proving that the log has grown: %w", err)
	}
	s := Step{Size: g.base.size, Root: g.root, Proof: make([]Hash, len(proof))}
	for i, h := range proof {
		s.Proof[i] = Hash(h)
	}
	return s, nil
}

// node is the hash of the n-th complete subtree of 2^level lines. A proof needs
// those of the edge that there was, of the edge that there is, and what came to
// stand to the right of the first.
func (g *growth) node(now *tree, level int, n uint64) (Hash, bool) {
	onEdge := func(t *tree) bool { return t.size>>level&1 == 1 && n == t.size>>level-1 }
	switch {
	case level >= maxTreeLevel:
		return Hash{}, false
	case onEdge(&g.base):
		return g.base.edge[level], true
	case onEdge(now):
		return now.edge[level], true
	case n == (g.base.size-1)>>level+1:
		return g.right[level], true
	default:
		return Hash{}, false
	}
}

// capture is the end of the log at a moment when nobody writes.
type capture struct {
	tip  tip
	step Step // from the capture before; size 0: there was none since the log was opened
	done chan struct{}
}

// captureTip takes down where the log ends, and from where growth is proved from
// now on; mu is held and nobody leads.
func (l *Log) captureTip(c *capture) {
	w := &l.writer
	c.tip = tip{w.tree, w.next, w.last, w.log}
	if g := w.growth; g.base.size != w.tree.size || g.base.from != w.tree.from {
		if step, err := g.step(&w.tree); err == nil {
			c.step = step
		}
		g.begin(&w.tree, w.digest)
	}
	close(c.done)
}

// NextCheckpoint is [Log.Checkpoint] for whoever publishes: with the proof that
// the log has grown from the checkpoint that was asked for in this way before.
// Its size is 0 where there was none since the log was opened, or nothing was
// written since. It waits for those who write now, until ctx ends.
func (l *Log) NextCheckpoint(ctx context.Context, origin string) (c Checkpoint, step Step, ok bool) {
	asked := &capture{done: make(chan struct{})}
	l.mu.Lock()
	if l.leading.IsZero() {
		l.captureTip(asked)
	} else {
		l.captures = append(l.captures, asked)
	}
	l.mu.Unlock()
	select {
	case <-asked.done:
	case <-ctx.Done():
		l.mu.Lock()
		l.captures = slices.DeleteFunc(l.captures, func(c *capture) bool { return c == asked })
		l.mu.Unlock()
		return c, step, false
	}
	c, ok = l.checkpointOf(asked.tip, origin)
	return c, asked.step, ok
}

// maxProveLines bounds the lines that are read for a proof.
const maxProveLines = 4 << 20

// Prove proves that the log as a checkpoint has it has grown from its first size
// lines, for whoever has kept a checkpoint that is older than what NextCheckpoint
// tells of. It reads all lines since, and some before.
// Errors: [ErrUnproved] where they are not there any more or damaged, or the
// checkpoint is not of this log; [ErrProofCost].
func (l *Log) Prove(ctx context.Context, c Checkpoint, size uint64) (Step, error) {
	if size == 0 || size >= c.Size {
		return Step{}, ErrUnproved
	}
	l.mu.Lock()
	kept := l.kept
	l.mu.Unlock()
	// The segment that the last of those lines is in, or one before it.
	at := -1
	for i, s := range kept {
		if s.first <= c.From+size {
			at = i
		}
	}
	if at < 0 {
		return Step{}, ErrUnproved
	}
	if c.Next()-kept[at].first > maxProveLines {
		return Step{}, ErrProofCost
	}
	seg := kept[at]
	h, err := headerOf(l.cfg.Dir, seg)
	if errors.Is(err, fs.ErrNotExist) && !seg.packed { // it has been packed since
		seg.packed = true
		h, err = headerOf(l.cfg.Dir, seg)
	}
	if err != nil {
		return Step{}, fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	t, ok := treeOf(h.From, h.First, h.Tree)
	if !ok || t.from != c.From || t.size > size {
		return Step{}, ErrUnproved
	}
	r, err := l.NewReader(nil)
	if err != nil {
		return Step{}, err
	}
	defer r.Close()
	p := &proving{growth: new(growth), tree: &t, digest: newChain().digest, size: size}
	for above := h.First - 1; t.size < c.Size; {
		b, err := r.Read(ctx, above, 10_000, 8<<20)
		switch {
		case err != nil:
			return Step{}, err
		case ctx.Err() != nil:
			return Step{}, context.Cause(ctx)
		case b.Lost > 0 || b.Damaged != nil || b.Above == above:
			return Step{}, ErrUnproved
		}
		for i := range b.Lines {
			if t.size < c.Size {
				p.add(&b.Lines[i])
			}
		}
		above = b.Above
	}
	if t.root(p.digest) != c.Root {
		return Step{}, ErrUnproved
	}
	return p.step(&t)
}

// proving is a proof that is made by reading.
type proving struct {
	*growth
	tree   *tree
	digest *hasher
	size   uint64 // where the growth begins
}

func (p *proving) add(l *Line) {
	if p.tree.size == p.size {
		p.begin(p.tree, p.digest)
	}
	p.tree.add(p.digest, l.Hash, p.growth)
}
