// Package devfile is the file dev.json, in which kmsd dev says how to reach
// the cluster that it runs: addresses, process ids and the first
// administrator's credentials.
//
// It holds secrets: Write makes it readable by its owner alone.
package devfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Name is the file's name in the directory of a dev cluster.
const Name = "dev.json"

// File is its content.
type File struct {
	Region       string `json:"region"`
	DomainID     string `json:"domain_id"` // 32 lower-case hex digits, as the other ids
	DomainName   string `json:"domain_name"`
	ProjectID    string `json:"project_id"`
	ProjectName  string `json:"project_name"` // equals Region
	UserID       string `json:"user_id"`
	UserName     string `json:"user_name"`
	Password     string `json:"password"`
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	AWSAccountID string `json:"aws_account_id"` // 12 digits
	CAFile       string `json:"ca_file"`        // PEM; absolute path
	Nodes        []Node `json:"nodes"`
}

// Node is one node of the cluster.
type Node struct {
	ID             string `json:"id"`
	PID            int    `json:"pid"`
	URL            string `json:"url"` // https, without a path
	ClusterAddress string `json:"cluster_addr"`
	DataDir        string `json:"data_dir"` // absolute path
}

// AdminSocket is where the node's operator asks it: beside its data directory.
func (n Node) AdminSocket() string { return filepath.Join(filepath.Dir(n.DataDir), "admin.sock") }

// URLs lists the nodes' addresses in order.
func (f *File) URLs() []string {
	urls := make([]string, len(f.Nodes))
	for i, node := range f.Nodes {
		urls[i] = node.URL
	}
	return urls
}

// Read returns the content of the file at path.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the dev cluster's file (is kmsd dev running and ready?): %w", err)
	}
	f := new(File)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(f.Nodes) == 0 {
		return nil, fmt.Errorf("reading %s: it names no nodes", path)
	}
	return f, nil
}

// Write replaces the file at path in one step: a reader sees all of it or none.
func Write(path string, f *File) error {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return WriteAtomic(path, append(text, '\n'))
}

// WriteAtomic puts content into a file that only its owner can read: into a
// temporary file beside it first, synced, then renamed.
func WriteAtomic(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(temporary.Name()) // after the rename there is nothing left to remove
	if _, err := temporary.Write(content); err != nil {
		temporary.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := temporary.Sync(); err != nil {
		temporary.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := temporary.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
