package dev

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// node is one node: its files, and its child process once it runs.
type node struct {
	id         string
	dir        string // DIR/node-i
	configFile string
	settings   config.Config
	admin      *admin.Socket
	child      *child
}

// layOut names the files and addresses of every node; it writes nothing.
func (p plan) layOut() []*node {
	nodes := make([]*node, p.Nodes)
	for i := range nodes {
		id := fmt.Sprintf("node-%d", i+1)
		dir := filepath.Join(p.dir, id)
		n := &node{id: id, dir: dir, configFile: filepath.Join(dir, "kmsd.yaml")}
		data := filepath.Join(dir, "data")
		n.settings = config.Config{
			Node: config.Node{ID: id, DataDir: data, AdminSocket: devfile.Node{DataDir: data}.AdminSocket()},
			API:  config.API{Listen: p.address(i, apiPort), Advertise: "https://" + p.address(i, apiPort)},
			Cluster: config.Cluster{
				Listen: p.address(i, clusterPort), Advertise: p.address(i, clusterPort),
				JoinTokenFile: filepath.Join(dir, "join-token"),
			},
			Gossip: config.Gossip{Listen: p.address(i, gossipPort), Advertise: p.address(i, gossipPort)},
			Module: config.Module{Kind: p.Module},
			Limits: config.Limits{Calls: p.Calls},
			Log:    config.Log{Level: "info"},
		}
		n.admin = admin.Open(n.settings.Node.AdminSocket)
		nodes[i] = n
	}
	return nodes
}

// describe is what dev.json says of the running node.
func (n *node) describe() devfile.Node {
	return devfile.Node{
		ID: n.id, PID: n.child.pid, URL: n.settings.API.Advertise,
		ClusterAddress: n.settings.Cluster.Advertise, DataDir: n.settings.Node.DataDir,
	}
}

// prepare writes the node's directory, its HSM token and, last, its
// configuration. Where the configuration is there already, so is the rest.
func (n *node) prepare(p plan) error {
	if _, err := os.Stat(n.configFile); err == nil {
		return nil
	}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of %s: %w", n.id, err)
	}
	if p.Module == "pkcs11" {
		if err := n.makeToken(p.PKCS11Library); err != nil {
			return fmt.Errorf("making the token of %s: %w", n.id, err)
		}
	}
	text, err := n.settings.YAML()
	if err != nil {
		return err
	}
	head := fmt.Sprintf("# %s of a kmsd dev cluster; run it by hand with: kmsd serve --config %s\n", n.id, n.configFile)
	return devfile.WriteAtomic(n.configFile, append([]byte(head), text...))
}

// logFile is where the child's standard error goes.
func (n *node) logFile() string { return filepath.Join(n.dir, "kmsd.log") }

// lastWords is the last line of the node's log.
func (n *node) lastWords() string {
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		return "it left no log"
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if last := lines[len(lines)-1]; len(last) > 0 {
		return string(last)
	}
	return "it left an empty log"
}
