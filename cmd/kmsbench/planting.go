package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// plantKeys puts keys into the state of stopped nodes, as a snapshot that each
// starts from: so many could not be made one after the other in the time of a
// benchmark. All get the same state at the same place, the last that all have
// in their logs. The keys are of no use, since no module made their material.
func plantKeys(ctx context.Context, dataDirs []string, projectID string, keys int) error {
	at, err := lastInCommon(dataDirs)
	if err != nil {
		return err
	}
	var planted *state.Root
	for _, dir := range dataDirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if planted, err = plantInto(filepath.Join(dir, "raft"), at, projectID, keys, planted); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

// lastInCommon is the last index that all logs reach. Nodes that were asked to
// end are level but for a few entries.
func lastInCommon(dataDirs []string) (uint64, error) {
	var common uint64
	for i, dir := range dataDirs {
		stores, err := storage.OpenStopped(filepath.Join(dir, "raft"), hclog.NewNullLogger())
		if err != nil {
			return 0, err
		}
		last, err := stores.Log.LastIndex()
		if err := errors.Join(err, stores.Close()); err != nil {
			return 0, fmt.Errorf("reading the log in %s: %w", dir, err)
		}
		if i == 0 || last < common {
			common = last
		}
	}
	return common, nil
}

// plantInto writes the snapshot of one node. planted is the state that another
// node got; nil: it is made here. It returns the state.
func plantInto(dir string, at uint64, projectID string, keys int, planted *state.Root) (*state.Root, error) {
	stores, err := storage.OpenStopped(dir, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	defer stores.Close()
	seen, err := replayTo(stores, at)
	if err != nil {
		return nil, err
	}
	if planted == nil {
		if planted, err = fill(seen.machine.State(), projectID, keys); err != nil {
			return nil, err
		}
	}
	_, names := raft.NewInmemTransport("") // spells the members in the form that old versions read
	sink, err := stores.Snapshots.Create(raft.SnapshotVersionMax, at, seen.term, seen.configuration, seen.configurationIndex, names)
	if err != nil {
		return nil, fmt.Errorf("making a snapshot: %w", err)
	}
	if _, err := snapshot.Write(sink, planted); err != nil {
		return nil, errors.Join(fmt.Errorf("writing a snapshot: %w", err), sink.Cancel())
	}
	return planted, sink.Close()
}

// replayed is what a log holds up to some place.
type replayed struct {
	machine            *fsm.Machine
	term               uint64
	configuration      raft.Configuration
	configurationIndex uint64
}

// replayTo applies a node's newest snapshot, if there is one, and its log up to
// an index.
func replayTo(stores *storage.Stopped, at uint64) (*replayed, error) {
	seen := &replayed{machine: fsm.New()}
	metas, err := stores.Snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	if len(metas) > 0 {
		meta, r, err := stores.Snapshots.Open(metas[0].ID)
		if err != nil {
			return nil, fmt.Errorf("opening a snapshot: %w", err)
		}
		if err := errors.Join(seen.machine.Restore(r), r.Close()); err != nil {
			return nil, err
		}
		seen.term, seen.configuration, seen.configurationIndex = meta.Term, meta.Configuration, meta.ConfigurationIndex
	}
	first, err := stores.Log.FirstIndex()
	if err != nil {
		return nil, fmt.Errorf("reading the log: %w", err)
	}
	for index := max(first, seen.machine.State().Applied()+1); index <= at; index++ {
		var entry raft.Log
		if err := stores.Log.GetLog(index, &entry); err != nil {
			return nil, fmt.Errorf("reading entry %d of the log: %w", index, err)
		}
		seen.term = entry.Term
		switch entry.Type {
		case raft.LogConfiguration:
			seen.configuration, seen.configurationIndex = raft.DecodeConfiguration(entry.Data), index
		case raft.LogCommand:
			if _, err := seen.machine.Apply([]fsm.Entry{{Index: index, Term: entry.Term, Data: entry.Data}}); err != nil {
				return nil, err
			}
		}
	}
	if seen.machine.State().Applied() < at { // the last entries are none that the state machine sees
		if _, err := seen.machine.Apply([]fsm.Entry{{Index: at, Term: seen.term}}); err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// fill returns a state with so many keys in a project.
func fill(root *state.Root, projectID string, keys int) (*state.Root, error) {
	x := root.Txn()
	old, ok := x.Project(projectID)
	if !ok {
		return nil, fmt.Errorf("there is no project %s", projectID)
	}
	var model *state.Key
	for key := range x.AllKeys() {
		if key.ProjectID == projectID {
			model = key
		}
	}
	if model == nil {
		return nil, errors.New("there is no key to go by")
	}
	roomy := *old
	roomy.KeyQuota = uint32(keys + 1000)
	x.PutProject(&roomy)
	next := x.NextSequence(projectID)
	for i := x.KeyCount(projectID); i < keys; i++ {
		key := *model
		id := sha256.Sum256(fmt.Append(nil, "planted ", i))
		key.ID = uuid.UUID(id[:16]).String()
		key.Name = fmt.Sprintf("service-%d/planted", i)
		key.Sequence, next = next, next+1
		x.PutKey(&key)
		blob := sha256.Sum256(id[:])
		x.PutVersion(&state.Version{KeyID: key.ID, Number: 1, RootGeneration: 1, Blob: append(blob[:], id[:8]...), MAC: id[:], Created: key.Created})
	}
	return x.Commit(), nil
}
