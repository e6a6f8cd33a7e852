package fsm

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// ErrOrder is returned for an entry whose index is not above the last applied one.
var ErrOrder = errors.New("entry out of order")

// Entry is one entry of the log.
type Entry struct {
	Index uint64
	Term  uint64
	Data  []byte // an encoded command; empty: a mark that only moves the applied index
}

// Machine holds the current state. Apply and Restore are called by one
// goroutine, the rest by any.
type Machine struct {
	highest uint32 // feature level that it knows

	root atomic.Pointer[state.Root]
}

// New returns a Machine to which nothing has been applied.
func New() *Machine { return NewAt(state.FeatureLevel) }

// NewAt returns a machine whose binary is said to know the feature levels up to
// highest: how a binary to come is tried out against this one.
func NewAt(highest uint32) *Machine {
	m := &Machine{highest: highest}
	m.root.Store(state.NewRoot())
	return m
}

// Highest returns the highest feature level that the machine knows.
func (m *Machine) Highest() uint32 { return m.highest }

// State returns the current state. A caller takes it once and decides all of
// one answer from it.
func (m *Machine) State() *state.Root { return m.root.Load() }

// Apply applies a batch and returns one result per entry, in order. The new
// state becomes visible when all of the batch is in it.
//
// An error means that this binary cannot know what the entry does (unknown
// type or feature level, bytes that do not decode, an index out of order).
// Nothing of the batch is visible then, and the caller must stop the process:
// going on would be to diverge.
func (m *Machine) Apply(entries []Entry) ([]Result, error) {
	results, _, err := m.ApplyFenced(entries)
	return results, err
}

// ApplyFenced is [Machine.Apply] with, for each entry, the index that must be
// released before anybody is told its result: that of the last fenced command
// that the result may follow from, 0 when there is none. Fences are no part of
// the state: a node that has read a snapshot knows of more of them than others.
func (m *Machine) ApplyFenced(entries []Entry) ([]Result, []uint64, error) {
	x := m.State().Txn()
	results, fences := make([]Result, len(entries)), make([]uint64, len(entries))
	for i, e := range entries {
		if e.Index <= x.Applied() {
			return nil, nil, fmt.Errorf("applying entry %d of term %d after entry %d: %w", e.Index, e.Term, x.Applied(), ErrOrder)
		}
		results[i].Index = e.Index
		if len(e.Data) > 0 {
			result, fence, err := apply(x, m.highest, e.Index, e.Data)
			if err != nil {
				return nil, nil, fmt.Errorf("applying entry %d of term %d: %w", e.Index, e.Term, err)
			}
			results[i], fences[i] = result, fence
		}
		x.SetApplied(e.Index)
	}
	m.root.Store(x.Commit())
	return results, fences, nil
}

// Snapshot pins the current state. It costs nothing; the work is in WriteTo.
func (m *Machine) Snapshot() *Snapshot { return &Snapshot{root: m.State()} }

// Restore replaces the state by the one in a snapshot. On an error, which wraps
// one of package snapshot's, the state stays as it was.
func (m *Machine) Restore(r io.Reader) error {
	root, err := snapshot.ReadUpTo(r, m.highest)
	if err != nil {
		return fmt.Errorf("restoring a snapshot: %w", err)
	}
	m.root.Store(root)
	return nil
}

// Snapshot is a state that stays as it was while the machine goes on.
type Snapshot struct {
	root *state.Root
}

// Index returns the log index of the last entry in the snapshot.
func (s *Snapshot) Index() uint64 { return s.root.Applied() }

// WriteTo writes the snapshot in the format of package snapshot. It may run
// while the machine applies.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := snapshot.Write(w, s.root)
	if err != nil {
		return n, fmt.Errorf("writing a snapshot: %w", err)
	}
	return n, nil
}
