package audit

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// grown is a tree of lines, and the checkpoints and steps that were taken of it.
type grown struct {
	tree   tree
	growth growth
	digest *hasher
	taken  []Checkpoint
	steps  []Step
}

func (g *grown) take(t *rapid.T) {
	if g.growth.base.size > 0 && g.growth.base.size < g.tree.size {
		step, err := g.growth.step(&g.tree)
		if err != nil {
			t.Fatal(err)
		}
		g.steps = append(g.steps, step)
	}
	g.growth.begin(&g.tree, g.digest)
	g.taken = append(g.taken, Checkpoint{From: g.tree.from, Size: g.tree.size, Root: g.tree.root(g.digest)})
}

func (g *grown) add(n uint64) {
	var line Hash
	binary.BigEndian.PutUint64(line[:], n)
	g.tree.add(g.digest, line, &g.growth)
}

func newGrown() *grown { return &grown{tree: tree{from: 1}, digest: newChain().digest} }

// However a log grows between checkpoints, each is proved from every one before;
// a log that holds other lines before the older of them is not.
func TestGrowthIsProved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		honest, forged := newGrown(), newGrown()
		parts := rapid.SliceOfN(rapid.IntRange(1, 90), 2, 8).Draw(t, "parts")
		altered := rapid.IntRange(0, parts[0]-1).Draw(t, "altered")
		n := 0
		for _, part := range parts {
			for range part {
				honest.add(uint64(n))
				if n == altered {
					forged.add(1 << 40)
				} else {
					forged.add(uint64(n))
				}
				n++
			}
			honest.take(t)
			forged.take(t)
		}
		last := honest.taken[len(parts)-1]
		for i, kept := range honest.taken {
			if err := last.Grew(kept, honest.steps); err != nil {
				t.Fatalf("from %d to %d lines: %v", kept.Size, last.Size, err)
			}
			if err := forged.taken[len(parts)-1].Grew(kept, forged.steps); !errors.Is(err, ErrForked) {
				t.Fatalf("forged, from %d lines: %v", kept.Size, err)
			}
			// The forger shows the honest roots, and what it has of proofs.
			mixed := slices.Clone(forged.steps)
			for j := range mixed {
				mixed[j].Root = honest.steps[j].Root
			}
			if err := forged.taken[len(parts)-1].Grew(kept, mixed); !errors.Is(err, ErrForked) {
				t.Fatalf("forged, with honest roots, from %d lines: %v", kept.Size, err)
			}
			if i > 0 {
				if err := last.Grew(kept, honest.steps[:i]); i < len(parts)-1 && !errors.Is(err, ErrUnproved) {
					t.Fatalf("steps that end before: %v", err)
				}
			}
		}
	})
}

// What is not of one tree, or has no end, is refused, whatever it says.
func TestGrowthOfNothing(t *testing.T) {
	kept := Checkpoint{From: 1, Size: 5, Root: Hash{1}}
	f := func(c Checkpoint, steps []Step, want error) {
		t.Helper()
		if err := c.Grew(kept, steps); !errors.Is(err, want) {
			t.Errorf("%+v by %d steps: %v, want %v", c, len(steps), err, want)
		}
	}
	f(Checkpoint{From: 1, Size: 9}, nil, ErrUnproved)
	f(Checkpoint{From: 2, Size: 9}, []Step{{Size: 5, Root: Hash{1}}}, ErrUnproved)
	f(Checkpoint{From: 1, Size: 9, Log: Hash{1}}, []Step{{Size: 5, Root: Hash{1}}}, ErrUnproved)
	f(Checkpoint{From: 1, Size: 4}, nil, ErrUnproved)
	f(Checkpoint{From: 1, Size: 5, Root: Hash{2}}, nil, ErrForked)
	f(Checkpoint{From: 1, Size: 9}, []Step{{Size: 5, Root: Hash{2}}}, ErrForked)
	f(Checkpoint{From: 1, Size: 9}, []Step{{Size: 5, Root: Hash{1}}}, ErrForked)
	f(Checkpoint{From: 1, Size: 9}, []Step{{Size: 5, Root: Hash{1}}, {Size: 1 << 62}}, ErrForked)
	f(Checkpoint{From: 1, Size: 9}, []Step{{Size: 5, Root: Hash{1}}, {Size: 3}}, ErrForked)
	f(Checkpoint{From: 1, Size: 9}, []Step{{Size: 5, Root: Hash{1}, Proof: make([]Hash, 1000)}}, ErrForked)
	f(Checkpoint{From: 1, Size: 1 << 63}, []Step{{Size: 5, Root: Hash{1}, Proof: make([]Hash, 3)}}, ErrUnproved)
}
