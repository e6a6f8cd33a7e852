package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	claimFile   = "owner.json"
	claimFormat = 1
)

// owner is who a directory belongs to, as its file owner.json says.
type owner struct {
	Format    int    `json:"format"`
	ClusterID string `json:"cluster_id"`
	NodeID    string `json:"node_id"`
}

// claim writes the owner into a new directory and checks it in an old one.
func claim(dir, clusterID, nodeID string) error {
	path := filepath.Join(dir, claimFile)
	written, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeClaim(dir, owner{Format: claimFormat, ClusterID: clusterID, NodeID: nodeID})
	}
	if err != nil {
		return fmt.Errorf("reading the owner of the data directory: %w", err)
	}
	var found owner
	decoder := json.NewDecoder(bytes.NewReader(written))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&found); err != nil {
		return fmt.Errorf("reading the owner of the data directory from %s: %w", path, err)
	}
	switch {
	case found.Format != claimFormat:
		return fmt.Errorf("the data directory has format %d, this version knows %d", found.Format, claimFormat)
	case found.ClusterID != clusterID:
		return fmt.Errorf("the data directory %s belongs to cluster %s, not to %s: configure another directory, or that cluster's identity", filepath.Dir(dir), found.ClusterID, clusterID)
	case found.NodeID != nodeID:
		return fmt.Errorf("the data directory %s belongs to node %s, not to %s: configure another directory, or that node's identity", filepath.Dir(dir), found.NodeID, nodeID)
	}
	return nil
}

// writeClaim writes the file in whole or not at all. It is written before
// anything else, so that a directory with Raft files has an owner.
func writeClaim(dir string, o owner) error {
	content, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding the owner of the data directory: %w", err)
	}
	temporary := filepath.Join(dir, claimFile+".tmp")
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the owner of the data directory: %w", err)
	}
	_, err = f.Write(append(content, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the owner of the data directory: %w", err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, claimFile)); err != nil {
		return fmt.Errorf("writing the owner of the data directory: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
