package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	snapshotsDir    = "snapshots" // the name is raft's
	temporarySuffix = ".tmp"      // of a snapshot being written; raft's too
)

// snapshotStore is raft's file store with files that only the owner can read,
// whatever the process's umask, and without what a crash left half-written.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir string
}

func openSnapshots(dir string, log hclog.Logger) (*snapshotStore, error) {
	s := &snapshotStore{dir: filepath.Join(dir, snapshotsDir)}
	if err := s.removeUnfinished(); err != nil {
		return nil, err
	}
	var err error
	s.FileSnapshotStore, err = raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, log)
	if err != nil {
		return nil, fmt.Errorf("opening the snapshots: %w", err)
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("closing the snapshots to others: %w", err)
	}
	return s, nil
}

// Create starts a snapshot.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	under := filepath.Join(s.dir, sink.ID()+temporarySuffix)
	if err := errors.Join(
		os.Chmod(under, 0o700),
		os.Chmod(filepath.Join(under, "meta.json"), 0o600),
		os.Chmod(filepath.Join(under, "state.bin"), 0o600),
	); err != nil {
		return nil, errors.Join(fmt.Errorf("closing a snapshot to others: %w", err), sink.Cancel())
	}
	return sink, nil
}

// newest is the newest snapshot, which is to be that of index; nil: there is none,
// and none is to be. Where Raft could not read the newest one, and began with an
// older one, that and the entries behind it are needed.
func (s *snapshotStore) newest(index uint64) (*raft.SnapshotMeta, error) {
	all, err := s.List() // newest first
	switch {
	case err != nil:
		return nil, fmt.Errorf("listing the snapshots: %w", err)
	case len(all) == 0 && index == 0:
		return nil, nil
	case len(all) == 0 || all[0].Index != index:
		return nil, fmt.Errorf("the newest snapshot is not that of the state, which is of entry %d", index)
	}
	return all[0], nil
}

// RemoveSnapshot removes a snapshot, unless Raft has done so meanwhile. It becomes
// an unfinished one first: what a crash leaves of it must not be taken for the newest.
func (s *Stores) RemoveSnapshot(id string) error {
	path := filepath.Join(s.snapshots.dir, id)
	err := os.Rename(path, path+temporarySuffix)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(s.snapshots.dir)
	}
	if err == nil {
		err = os.RemoveAll(path + temporarySuffix)
	}
	if err != nil {
		return fmt.Errorf("removing a snapshot: %w", err)
	}
	return syncDir(s.snapshots.dir)
}

// Open reads a snapshot; [SnapshotMeta] knows what it is.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, r, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the snapshot %s: %w", id, err)
	}
	return meta, opened{ReadCloser: r, meta: meta}, nil
}

type opened struct {
	io.ReadCloser
	meta *raft.SnapshotMeta
}

// SnapshotMeta describes the snapshot that raft gives to a state machine to
// restore: its place in the log, and the members as of then. False when the
// reader is no such thing.
func SnapshotMeta(r io.ReadCloser) (*raft.SnapshotMeta, bool) {
	for {
		if o, ok := r.(opened); ok {
			return o.meta, true
		}
		wrapper, ok := r.(raft.ReadCloserWrapper)
		if !ok {
			return nil, false
		}
		r = wrapper.WrappedReadCloser()
	}
}

func (s *snapshotStore) removeUnfinished() error {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for unfinished snapshots: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), temporarySuffix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, entry.Name())); err != nil {
			return fmt.Errorf("removing an unfinished snapshot: %w", err)
		}
	}
	return nil
}
