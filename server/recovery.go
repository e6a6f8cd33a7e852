package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
)

// A cluster whose majority is lost for good is founded again, as a new
// generation, from what one node has left. The operator decides that offline
// ([FindRecovery], [Recovery.Begin]), and from which node: the one with the highest
// last term, and among those the one with the highest last index, as Raft itself
// would elect. A leader that was cut off may show the highest index of all, of
// entries that nobody was told of, and lack what its successor has acknowledged.
// The node does the rest at its next start, when its module is open. The lost nodes
// cannot come back into the new generation: it has another CA. Two of them could
// still go on as the old cluster, so they must not be started again; that is for
// the operator to see to.

const (
	recoveryMark = "recovery.json"
	lostSuffix   = "-lost-"
	lostTime     = "20060102T150405Z" // when it was decided, behind the suffix
)

// Recovery is what a stopped node's data directory holds of its cluster.
type Recovery struct {
	ClusterID string   `json:"cluster_id"`
	NodeID    string   `json:"node_id"`
	LastTerm  uint64   `json:"last_term"`       // of the last entry of its log; it decides before the index
	LastIndex uint64   `json:"last_index"`      // of that entry: everything up to here counts as committed
	Committed uint64   `json:"committed_index"` // everything up to here is known to have been committed; it may be more
	Unsure    Unsure   `json:"unsure"`          // what is behind it
	Keys      int      `json:"keys"`
	Lost      []string `json:"lost_nodes"` // nodes that are not part of the new generation

	dir string
}

// Unsure is what a log holds behind the last entry that is known to have been
// committed. Each of these may have been acknowledged, or have reached nobody but
// this node; all of them take effect.
type Unsure struct {
	Entries   int            `json:"entries"`
	FirstTerm uint64         `json:"first_term,omitempty"`
	LastTerm  uint64         `json:"last_term,omitempty"`
	Commands  map[string]int `json:"commands,omitempty"` // how many of each kind; the other entries change no state
}

// add counts an entry.
func (u *Unsure) add(e cluster.Entry) {
	if u.Entries++; u.FirstTerm == 0 {
		u.FirstTerm = e.Term
	}
	u.LastTerm = e.Term
	if len(e.Data) == 0 {
		return // of Raft itself, or a mark of a reader
	}
	if u.Commands == nil {
		u.Commands = make(map[string]int)
	}
	c, _ := command.Decode(e.Data) // it was just applied
	u.Commands[c.Type.String()]++
}

// recoveryFile is what is left for the node's next start.
type recoveryFile struct {
	ClusterID string `json:"cluster_id"`
	Aside     string `json:"aside"` // ends the names of what is set aside
}

// FindRecovery looks at a stopped node's data directory. Nothing is changed.
func FindRecovery(dataDir string) (*Recovery, error) {
	id, found, err := loadIdentity(dataDir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dataDir, recoveryMark)); err == nil && !found {
		return nil, errors.New("the recovery of this node was decided, and interrupted: start it, and it goes on")
	}
	if !found {
		return nil, fmt.Errorf("%s belongs to no cluster: there is nothing to recover", dataDir)
	}
	r := &Recovery{ClusterID: id.ClusterID, NodeID: id.NodeID, Lost: []string{}, dir: dataDir}
	root, log, err := readState(filepath.Join(dataDir, raftDir), state.FeatureLevel, r.Unsure.add)
	if err != nil {
		return nil, fmt.Errorf("looking for what this node has left: %w", err)
	}
	if root.Cluster() == nil {
		return nil, errors.New("this node has received nothing of its cluster's state: recover another one")
	}
	r.LastTerm, r.LastIndex, r.Committed = log.Last.Term, log.Last.Index, log.Committed
	for range root.AllKeys() {
		r.Keys++
	}
	for _, node := range root.Nodes() {
		if node.ID != id.NodeID {
			r.Lost = append(r.Lost, node.ID)
		}
	}
	return r, nil
}

// Begin has the node found the cluster again at its next start. Nothing is
// deleted: what it has is set aside then.
func (r *Recovery) Begin(now time.Time) error {
	text, err := json.Marshal(recoveryFile{ClusterID: r.ClusterID, Aside: lostSuffix + now.UTC().Format(lostTime)})
	if err != nil {
		return fmt.Errorf("noting the recovery: %w", err)
	}
	return writeFile(filepath.Join(r.dir, recoveryMark), text)
}

// setAside gives a file or directory its other name, unless it has it already.
func setAside(dir, name, aside string) error {
	if _, err := os.Stat(filepath.Join(dir, name+aside)); err == nil {
		return nil
	}
	if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, name+aside)); err != nil {
		return fmt.Errorf("setting %s aside: %w", name, err)
	}
	return syncDirectory(dir)
}

// lostDirectories returns the paths of the logs and snapshots that recoveries
// have set aside. Nothing erases them: they are the operator's to go back to, and
// to remove.
func lostDirectories(dataDir string) (paths []string, err error) {
	entries, err := os.ReadDir(dataDir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), raftDir+lostSuffix) {
			paths = append(paths, filepath.Join(dataDir, e.Name()))
		}
	}
	return paths, err
}

// finishRecovery founds the cluster again, where that was decided.
func (s *Server) finishRecovery(ctx context.Context) (recovering bool, err error) {
	mark := filepath.Join(s.cfg.DataDir, recoveryMark)
	text, err := os.ReadFile(mark)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	var file recoveryFile
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil {
		return true, fmt.Errorf("reading what is to be recovered: %w", err)
	}
	// A start continues from wherever another one was interrupted.
	aside := filepath.Base(file.Aside)
	for _, name := range []string{identityFile, raftDir} {
		if err := setAside(s.cfg.DataDir, name, aside); err != nil {
			return true, err
		}
	}
	if _, found, err := loadIdentity(s.cfg.DataDir); err != nil {
		return true, err
	} else if found { // it is done, but for the mark
		return false, os.Remove(mark)
	}
	root, _, err := readState(filepath.Join(s.cfg.DataDir, raftDir+aside), s.machine.Highest(), nil)
	if err != nil {
		return true, err
	}
	id, err := identity{ClusterID: file.ClusterID}.cluster()
	if err != nil {
		return true, err
	}
	if _, err := s.cfg.Module.OpenRoots(ctx, id); err != nil {
		return true, fmt.Errorf("recovering the cluster %s: this node's module must hold its root keys: %w", file.ClusterID, err)
	}
	// What an interrupted attempt has planted is planted anew.
	if err := os.RemoveAll(filepath.Join(s.cfg.DataDir, raftDir)); err != nil {
		return true, fmt.Errorf("clearing an interrupted recovery: %w", err)
	}
	undone, err := s.refound(ctx, kms.OpRecoverCluster, root, nil, true, true)
	if err != nil {
		return true, fmt.Errorf("recovering the cluster %s: %w", file.ClusterID, err)
	}
	s.cfg.Logger.Warn("the cluster was founded again from what this node had: the other nodes start empty and join with new tokens",
		"generation", undone.Generation, "index", undone.Index, "lost_nodes", undone.Removed)
	if err := os.Remove(mark); err != nil {
		return true, fmt.Errorf("finishing the recovery: %w", err)
	}
	return true, nil
}
