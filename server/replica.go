package server

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
)

// stateMachine lets the cluster replicate into the state machine of fsm; the
// two rooms do not know each other.
type stateMachine struct {
	machine *fsm.Machine
	events  *events
}

// Apply implements [cluster.StateMachine].
func (m stateMachine) Apply(entries []cluster.Entry) ([]cluster.Reply, error) {
	batch := make([]fsm.Entry, len(entries))
	for i, e := range entries {
		batch[i] = fsm.Entry{Index: e.Index, Term: e.Term, Data: e.Data}
	}
	results, fences, err := m.machine.ApplyFenced(batch)
	if err != nil {
		return nil, err
	}
	replies := make([]cluster.Reply, len(results))
	for i := range results {
		if len(entries[i].Data) == 0 {
			continue // a barrier mark has no reply
		}
		replies[i] = cluster.Reply{Data: results[i].Encode(), Fence: fences[i]}
	}
	return replies, nil
}

// Snapshot implements [cluster.StateMachine].
func (m stateMachine) Snapshot() (io.WriterTo, error) {
	m.events.noteSnapshot(kms.OpTakeSnapshot, m.machine.State().Applied())
	return m.machine.Snapshot(), nil
}

// Restore implements [cluster.StateMachine].
func (m stateMachine) Restore(r io.Reader) error {
	if err := m.machine.Restore(r); err != nil {
		return err
	}
	m.events.noteSnapshot(kms.OpRestoreSnapshot, m.machine.State().Applied())
	return nil
}

// Hash implements [cluster.Hasher].
func (m stateMachine) Hash() ([32]byte, uint32) {
	return m.machine.State().Hash(), state.HashVersion
}

// AppliedIndex implements [cluster.StateMachine].
func (m stateMachine) AppliedIndex() uint64 { return m.machine.State().Applied() }

// prepare stamps a command with replicated time just before it is proposed:
// the leader's clock, but never behind what has been applied.
func (m stateMachine) prepare(data []byte, now time.Time) ([]byte, error) {
	return command.Stamp(data, max(now.UnixMilli(), m.machine.State().Now()))
}

// replica is this node's copy of the state, as the service uses it.
type replica struct {
	node    *cluster.Node
	machine *fsm.Machine
}

// Barrier implements [kms.Replica].
func (r replica) Barrier(ctx context.Context) error {
	_, err := r.node.Barrier(ctx)
	return err
}

// Serving implements [kms.Replica].
func (r replica) Serving() bool { return r.node.Serving() }

// Age implements [kms.Replica].
func (r replica) Age() (time.Duration, bool) { return r.node.Age() }

// LeaderTime implements [kms.Replica].
func (r replica) LeaderTime() time.Time { return r.node.LeaderTime() }

// Released implements [kms.Replica].
func (r replica) Released(ctx context.Context, index uint64) error {
	return r.node.Released(ctx, index)
}

// Root implements [kms.Replica].
func (r replica) Root() *state.Root { return r.machine.State() }

// Propose implements [kms.Replica].
func (r replica) Propose(ctx context.Context, data []byte) (fsm.Result, error) {
	committed, err := r.node.Propose(ctx, data)
	if err != nil {
		return fsm.Result{}, err
	}
	result, err := fsm.DecodeResult(committed.Reply)
	if err != nil {
		return fsm.Result{}, fmt.Errorf("decoding the result of entry %d: %w", committed.Index, err)
	}
	return result, nil
}
