package cluster

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// fsm is what Raft calls: it hands entries to the state machine and tells who
// waits for them. It reads no command.
//
// Changes of members come as entries without data, and advance the applied
// index; without that a snapshot of an idle cluster is refused for as long as
// the last change of members is its newest entry. A leader's first entry of a
// term (raft's no-op) never comes here.
type fsm struct {
	sm      StateMachine
	applied func(index, term uint64) // after each batch and restore; term zero: not known
	members func([]raft.Server)      // a configuration is applied; before applied says so
	fatal   func(error)
	settle  func(index, term uint64) error    // the log forgets what a snapshot takes the place of
	hashed  func(at hashed, step bool)        // the state after an entry, if the machine can hash it
	running atomic.Bool                       // raft is started: from now on an unreadable snapshot is fatal
	unread  error                             // of a snapshot that could not be restored before raft is started
	began   atomic.Pointer[raft.SnapshotMeta] // the first snapshot that was restored
	failed  atomic.Pointer[error]             // Apply's or Restore's error; nothing is applied after it

	handed   uint64        // up to where Raft takes the state to be; of Raft's goroutine for the state
	restores atomic.Uint64 // snapshots that were to take the state's place
}

var _ raft.BatchingFSM = (*fsm)(nil)

// Apply is not called by raft on a BatchingFSM, but for recovery it is.
func (f *fsm) Apply(entry *raft.Log) any { return f.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch applies a batch; a response is the reply's bytes or an error.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	err := f.apply(logs, responses)
	if err != nil {
		for i := range responses {
			responses[i] = err
		}
	}
	return responses
}

func (f *fsm) apply(logs []*raft.Log, responses []any) error {
	if failed := f.failed.Load(); failed != nil {
		return *failed
	}
	// Raft goes back when an old snapshot reaches it late, see Restore; the
	// state machine does not.
	f.handed = logs[len(logs)-1].Index
	done := f.sm.AppliedIndex()
	for len(logs) > 0 && logs[0].Index <= done {
		logs, responses = logs[1:], responses[1:]
	}
	if len(logs) == 0 {
		return nil
	}
	// A batch ends where nodes compare their states.
	for i := 1; i < len(logs); i++ {
		if logs[i].Index/hashStep != logs[0].Index/hashStep {
			if err := f.apply(logs[:i], responses[:i]); err != nil {
				return err
			}
			return f.apply(logs[i:], responses[i:])
		}
	}
	if done != 0 && done/hashStep != logs[0].Index/hashStep {
		f.hash(true)
	}
	entries := make([]Entry, len(logs))
	for i, l := range logs {
		entries[i] = Entry{Index: l.Index, Term: l.Term}
		if l.Type == raft.LogCommand {
			entries[i].Data = l.Data
		}
	}
	first, last := entries[0].Index, entries[len(entries)-1]
	replies, err := f.sm.Apply(entries)
	switch {
	case err != nil:
		return f.fail(fmt.Errorf("applying entries %d to %d: %w", first, last.Index, err))
	case len(replies) != len(entries):
		return f.fail(fmt.Errorf("applying entries %d to %d: %d replies for %d entries", first, last.Index, len(replies), len(entries)))
	case f.sm.AppliedIndex() != last.Index:
		return f.fail(fmt.Errorf("applying entries %d to %d: the state machine says that it has applied %d", first, last.Index, f.sm.AppliedIndex()))
	}
	for i, reply := range replies {
		responses[i] = reply
	}
	if err := f.configure(logs); err != nil {
		return f.fail(err)
	}
	f.hash(false)
	f.applied(last.Index, last.Term)
	return nil
}

// hash notes what the state machine holds now.
func (f *fsm) hash(step bool) {
	if hasher, ok := f.sm.(Hasher); ok && f.hashed != nil {
		at := hashed{Index: f.sm.AppliedIndex()}
		at.Hash, at.Version = hasher.Hash()
		f.hashed(at, step)
	}
}

// configure tells of the newest configuration among the entries, if any.
func (f *fsm) configure(logs []*raft.Log) (err error) {
	for _, l := range slices.Backward(logs) {
		if l.Type != raft.LogConfiguration {
			continue
		}
		defer func() { // raft panics at what it cannot decode
			if problem := recover(); problem != nil {
				err = fmt.Errorf("reading the configuration at %d: %v", l.Index, problem)
			}
		}()
		f.members(raft.DecodeConfiguration(l.Data).Servers)
		return nil
	}
	return nil
}

func (f *fsm) fail(err error) error {
	f.failed.Store(&err)
	f.fatal(err)
	return err
}

// Snapshot pins the state. A state machine that failed is not worth one, and one
// that is ahead of where Raft has gone back to would be kept under another index
// than its own.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if failed := f.failed.Load(); failed != nil {
		return nil, *failed
	}
	if at := f.sm.AppliedIndex(); f.handed < at {
		return nil, fmt.Errorf("pinning the state: it is that of entry %d, and Raft has gone back to %d", at, f.handed)
	}
	state, err := f.sm.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("pinning the state: %w", err)
	}
	return &pinned{state: state, restores: &f.restores, before: f.restores.Load()}, nil
}

// Restore replaces the state, unless it is beyond the snapshot already: a
// leader sends a snapshot again when the answer to the first is late, and raft
// would let the delayed one undo what was applied in between, under the eyes of
// readers that have waited for it. Raft then hands us the entries behind the
// snapshot again, which ApplyBatch skips.
func (f *fsm) Restore(r io.ReadCloser) error {
	meta, known := storage.SnapshotMeta(r)
	f.restores.Add(1)
	if known {
		f.handed = meta.Index
	}
	if known && meta.Index <= f.sm.AppliedIndex() {
		return nil
	}
	err := f.sm.Restore(r)
	if err == nil && known {
		err = f.settle(meta.Index, meta.Term)
	}
	if err != nil {
		err = fmt.Errorf("restoring a snapshot: %w", err)
		if f.running.Load() {
			return f.fail(err)
		}
		f.unread = err
		return err
	}
	if known {
		f.began.CompareAndSwap(nil, meta)
		f.members(meta.Configuration.Servers)
	}
	f.applied(f.sm.AppliedIndex(), 0)
	return nil
}

// pinned is a state that is being written as a snapshot.
type pinned struct {
	state    io.WriterTo
	restores *atomic.Uint64
	before   uint64 // restores when it was pinned
}

// errOvertaken is why a snapshot is given up.
var errOvertaken = errors.New("a snapshot from the leader has taken the state's place meanwhile")

// Persist writes the snapshot; raft cancels the sink when it fails. One that a
// leader's snapshot has overtaken fails: raft would take it for the newest all the
// same, and would find no entry to go on from behind it for its followers.
func (p *pinned) Persist(sink raft.SnapshotSink) error {
	if _, err := p.state.WriteTo(sink); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	if p.restores.Load() != p.before {
		return errOvertaken
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	if p.restores.Load() != p.before {
		return errOvertaken
	}
	return nil
}

// Release unpins the state.
func (p *pinned) Release() {
	if c, ok := p.state.(io.Closer); ok {
		c.Close()
	}
}
