package storage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
)

// ErrDamaged is wrapped by what [Damaged] returns.
var ErrDamaged = errors.New("this node may have lost what it acknowledged, and must not go on")

// Damaged adds to what is wrong with a Raft directory what its owner can do. A
// node must not start without what it has acknowledged: with its votes forgotten
// two may lead, and with entries missing one may lead that does not have them.
func Damaged(dir string, err error) error {
	if errors.Is(err, ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w: remove it from its cluster, empty %s and join it again under another id; if it was alone, restore a backup", err, ErrDamaged, filepath.Dir(dir))
}

// checkLog finds out whether the log's file is gone. Raft writes a term before the
// first entry, and no term before Open has made both files.
func (s *Stores) checkLog() error {
	info, err := os.Stat(filepath.Join(s.dir, logFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil && info.Size() > 0 {
		return nil
	}
	term, err := s.stable.term()
	if err == nil && term > 0 {
		err = errors.New("it is missing")
	}
	return err
}

// Check finds out whether something of the directory is gone altogether: term and
// vote, which raft would begin anew, or a snapshot that it would not see. Open has
// refused one whose log is gone, and raft itself checks the rest when it starts.
func (s *Stores) Check() error {
	if err := s.check(); err != nil {
		return Damaged(s.dir, err)
	}
	return nil
}

func (s *Stores) check() error {
	term, err := s.stable.term()
	if err != nil {
		return err
	}
	newest, err := NewestSnapshot(s.dir)
	if err != nil {
		return err
	}
	log := s.log.checked(s.log.bolt) // outside the watchdog: nothing runs yet that must be ended
	last, err := log.LastIndex()
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	entry := new(raft.Log)
	if last > 0 {
		if err := log.GetLog(last, entry); err != nil {
			return fmt.Errorf("reading the log: %w", err)
		}
	}
	if written := max(newest.Term, entry.Term); term < written {
		return fmt.Errorf("term and vote in %s are of term %d or missing, and the log is of term %d", filepath.Join(s.dir, stableFile), term, written)
	}
	return nil
}

// NewestSnapshot is the last one that was completed in a Raft directory, whether
// its state can be read or not; a zero one: there is none. It is an error that
// raft could not see it. What is left of an older one says nothing: a crash may
// have cut its removal short.
func NewestSnapshot(dir string) (newest raft.SnapshotMeta, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, snapshotsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return newest, fmt.Errorf("looking for snapshots: %w", err)
	}
	err = nil
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasSuffix(entry.Name(), temporarySuffix) {
			continue
		}
		meta, unread := readMeta(dir, entry.Name())
		if after(newest, meta) {
			newest, err = meta, unread
		}
	}
	return newest, err
}

// Reaches says whether the log holds the entry of an index, and of that term. Then
// it holds no other one before it than was committed there.
func (s *Stores) Reaches(index, term uint64) bool {
	var entry raft.Log
	err := s.log.checked(s.log.bolt).GetLog(index, &entry) // outside the watchdog, see check
	return err == nil && entry.Term == term
}

// readMeta describes a snapshot; where that cannot be read, as far as its name does.
func readMeta(dir, name string) (raft.SnapshotMeta, error) {
	var meta, named raft.SnapshotMeta
	text, err := os.ReadFile(filepath.Join(dir, snapshotsDir, name, "meta.json"))
	if err == nil {
		err = json.Unmarshal(text, &meta)
	}
	if err == nil && (meta.ID != name || meta.Version != raft.SnapshotVersionMax) {
		err = errAltered
	}
	if err == nil {
		return meta, nil
	}
	named.ID = name
	if _, unnamed := fmt.Sscanf(name, "%d-%d-", &named.Term, &named.Index); unnamed != nil { // as raft names them
		named.Term = math.MaxUint64
	}
	return named, fmt.Errorf("reading what the snapshot %s is: %w", name, err)
}

// after says that b is newer than a, in raft's order.
func after(a, b raft.SnapshotMeta) bool {
	return cmp.Or(cmp.Compare(b.Term, a.Term), cmp.Compare(b.Index, a.Index), cmp.Compare(b.ID, a.ID)) > 0
}
