package audit_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/server/audit"
)

func next(t *testing.T, log *audit.Log) (audit.Checkpoint, audit.Step) {
	t.Helper()
	c, step, ok := log.NextCheckpoint(t.Context(), origin)
	if !ok {
		t.Fatal("there is no checkpoint")
	}
	return c, step
}

// Each checkpoint that is published proves its growth from the one before, over
// segments and while others write; after a restart, and for whoever missed some,
// the log is read for it.
func TestTheLogProvesItsGrowth(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, packing(dir))
	appended(t, log, "x", 2)
	var taken []audit.Checkpoint
	var steps []audit.Step
	for i := range 6 {
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for range 7 + i {
					if err := log.Append(context.Background(), named("x")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		c, step := next(t, log) // while they write, or before
		if i == 0 || c.Size != taken[len(taken)-1].Size {
			taken = append(taken, c)
		}
		if step.Size > 0 {
			steps = append(steps, step)
		}
		writers.Wait()
	}
	last, step := next(t, log)
	steps = append(steps, step)
	taken = append(taken, last)
	if len(steps) != len(taken)-1 {
		t.Fatalf("%d steps between %d checkpoints", len(steps), len(taken))
	}
	for _, kept := range taken {
		if err := last.Grew(kept, steps); err != nil {
			t.Errorf("from %d to %d lines: %v", kept.Size, last.Size, err)
		}
	}
	if _, again := next(t, log); again.Size != 0 {
		t.Errorf("nothing was written, and there is a step from %d", again.Size)
	}
	packed(t, dir)
	shut(t, log)

	log, _ = open(t, packing(dir))
	appended(t, log, "y", 5)
	now, step := next(t, log)
	if step.Size != 0 {
		t.Errorf("a log that was just opened has a step from %d lines", step.Size)
	}
	for _, kept := range taken {
		step, err := log.Prove(t.Context(), now, kept.Size)
		if err != nil {
			t.Errorf("from %d lines: %v", kept.Size, err)
		} else if err := now.Grew(kept, []audit.Step{step}); err != nil {
			t.Errorf("from %d to %d lines: %v", kept.Size, now.Size, err)
		}
	}
	f := func(c audit.Checkpoint, size uint64) {
		t.Helper()
		if _, err := log.Prove(t.Context(), c, size); !errors.Is(err, audit.ErrUnproved) {
			t.Errorf("%+v from %d lines: %v", c, size, err)
		}
	}
	f(now, 0)
	f(now, now.Size)
	f(now, now.Size+1)
	longer := now
	longer.Size++
	f(longer, 3)
	longer.Size = 1 << 62
	if _, err := log.Prove(t.Context(), longer, 3); !errors.Is(err, audit.ErrProofCost) {
		t.Errorf("a proof over 2^62 lines: %v", err)
	}
	other := now
	other.From = 2
	f(other, 3)
	other = now
	other.Root[0] ^= 1
	f(other, 3)
	if err := os.Remove(segments(t, dir)[0]); err != nil {
		t.Fatal(err)
	}
	f(now, 3)
	shut(t, log)
}

// Two logs with one beginning: what either says later is not believed by who
// knows the other's lines.
func TestAForkedLogProvesNothing(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	appended(t, log, "x", 10)
	shut(t, log)
	forged := copied(t, dir)
	log, _ = open(t, small(dir))
	appended(t, log, "x", 10)
	kept, _ := next(t, log)
	shut(t, log)

	log, _ = open(t, small(forged))
	appended(t, log, "y", 10)
	same, _ := next(t, log)
	appended(t, log, "y", 10)
	later, step := next(t, log)
	if same.Size != kept.Size || same.Log != kept.Log {
		t.Fatalf("the two do not go on from one place: %+v, %+v", kept, same)
	}
	read, err := log.Prove(t.Context(), later, kept.Size)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []audit.Step{step, read} {
		if err := later.Grew(same, []audit.Step{step}); err != nil {
			t.Errorf("from its own checkpoint: %v", err)
		}
		if err := later.Grew(kept, []audit.Step{step}); !errors.Is(err, audit.ErrForked) {
			t.Errorf("from the other's checkpoint: %v", err)
		}
	}
	shut(t, log)
}
