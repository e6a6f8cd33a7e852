package server

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/hsm"
)

// The files by which a node knows who it is, all in its data directory and
// readable by their owner alone.
const (
	identityFile    = "identity.json" // written last: with it, the node has a cluster
	nodeKeyFile     = "node.key"      // PKCS#8, PEM
	nodeCertFile    = "node.crt"      // PEM
	caFile          = "ca.crt"        // PEM; every CA certificate that is trusted
	gossipKeyFile   = "gossip.key"    // 32 bytes; gossip is advice, so this is no root of trust
	adminSocketFile = "admin.sock"
	raftDir         = "raft" // of package cluster
)

// identity says which node of which cluster a data directory belongs to.
type identity struct {
	ClusterID  string `json:"cluster_id"`
	NodeID     string `json:"node_id"`
	ModuleKind string `json:"module_kind"`
	// Canary is the cluster's canary, hex, kept here so that a module without
	// the right roots is found out before anything else starts. It is empty
	// until the node's module has received the roots.
	Canary string `json:"canary,omitempty"`
	// Replicating is true once the node has a log of its own.
	Replicating bool `json:"replicating,omitempty"`
}

// credentials are a node's key pair and what it trusts, as files hold them.
type credentials struct {
	keyPKCS8    []byte
	certificate []byte   // DER
	authorities [][]byte // DER
	gossipKey   []byte
}

// hasRoots says whether the node's module has proved to hold the roots.
func (id identity) hasRoots() bool { return id.Canary != "" }

func (id identity) cluster() (hsm.ClusterID, error) {
	parsed, err := uuid.Parse(id.ClusterID)
	if err != nil {
		return hsm.ClusterID{}, fmt.Errorf("reading the cluster id in %s: %w", identityFile, err)
	}
	return hsm.ClusterID(parsed), nil
}

func (id identity) canary() (hsm.Canary, error) {
	raw, err := hex.DecodeString(id.Canary)
	if err != nil {
		return hsm.Canary{}, fmt.Errorf("reading the canary in %s: %w", identityFile, err)
	}
	return hsm.DecodeCanary(raw)
}

// loadIdentity reads the identity of a data directory; found is false where it
// has none yet.
func loadIdentity(dir string) (id identity, found bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, fmt.Errorf("reading who this node is: %w", err)
	}
	if err := json.Unmarshal(raw, &id); err != nil {
		return identity{}, false, fmt.Errorf("reading who this node is: %s is damaged: %w", identityFile, err)
	}
	return id, true, nil
}

// checkIdentity refuses a configuration that is not of the node whose data
// directory this is.
func checkIdentity(cfg Config) error {
	id, found, err := loadIdentity(cfg.DataDir)
	if err != nil || !found {
		return err
	}
	if id.NodeID != cfg.NodeID {
		return fmt.Errorf("the data directory belongs to node %s, but this node is configured as %s", id.NodeID, cfg.NodeID)
	}
	if kind := cfg.Module.Describe().Kind; id.ModuleKind != kind {
		return fmt.Errorf("this node's cluster uses %s modules, but a %s module is configured", id.ModuleKind, kind)
	}
	return nil
}

func (id identity) save(dir string) error {
	raw, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return fmt.Errorf("writing who this node is: %w", err)
	}
	return writeFile(filepath.Join(dir, identityFile), append(raw, '\n'))
}

func loadCredentials(dir string) (credentials, error) {
	var c credentials
	key, err := readPEM(filepath.Join(dir, nodeKeyFile), "PRIVATE KEY")
	if err != nil {
		return c, err
	}
	certificate, err := readPEM(filepath.Join(dir, nodeCertFile), "CERTIFICATE")
	if err != nil {
		return c, err
	}
	if c.authorities, err = readPEM(filepath.Join(dir, caFile), "CERTIFICATE"); err != nil {
		return c, err
	}
	c.keyPKCS8, c.certificate = key[0], certificate[0]
	if c.gossipKey, err = os.ReadFile(filepath.Join(dir, gossipKeyFile)); err != nil {
		return c, fmt.Errorf("reading the gossip key: %w", err)
	}
	return c, nil
}

func (c credentials) save(dir string) error {
	if err := c.saveCertificate(dir); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, nodeKeyFile), encodePEM("PRIVATE KEY", c.keyPKCS8)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, gossipKeyFile), c.gossipKey)
}

// saveCertificate saves what a renewal changes.
func (c credentials) saveCertificate(dir string) error {
	if err := writeFile(filepath.Join(dir, nodeCertFile), encodePEM("CERTIFICATE", c.certificate)); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, caFile), encodePEM("CERTIFICATE", c.authorities...))
}

func encodePEM(kind string, blocks ...[]byte) []byte {
	var out []byte
	for _, block := range blocks {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: block})...)
	}
	return out
}

// readPEM returns the blocks of a file, of which there is at least one and all
// are of one kind.
func readPEM(path, kind string) ([][]byte, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading this node's credentials: %w", err)
	}
	var blocks [][]byte
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != kind {
			return nil, fmt.Errorf("reading this node's credentials: %s holds a %s, not a %s", path, block.Type, kind)
		}
		blocks = append(blocks, block.Bytes)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("reading this node's credentials: %s holds no %s", path, kind)
	}
	return blocks, nil
}

// writeFile replaces a file whole or not at all, readable by its owner alone,
// and returns when it is on disk.
func writeFile(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(temporary.Name())
	if _, err = temporary.Write(content); err == nil {
		err = temporary.Sync()
	}
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err == nil {
		err = syncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
