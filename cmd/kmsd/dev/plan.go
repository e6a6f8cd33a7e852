package dev

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// The names of this package's files in the directory.
const (
	planFile        = "cluster.json"
	credentialsFile = "credentials.json"
	caFile          = "ca.pem"
)

// What a new cluster is where the options do not say.
const (
	defaultNodes  = 3
	maxNodes      = 7
	maxCalls      = 65_536
	defaultModule = "soft"
	defaultPort   = 8440
	defaultCalls  = 1024
	portsPerNode  = 10 // from one node's first port to the next one's
	loopback      = "127.0.0.1"
)

// plan is what the directory's cluster is made of. It is kept in the directory,
// since the nodes' addresses are part of the replicated state.
type plan struct {
	dir           string
	Nodes         int    `json:"nodes"`
	Module        string `json:"module"`
	PKCS11Library string `json:"pkcs11_library,omitempty"`
	Port          int    `json:"port"`
	Calls         int    `json:"calls,omitempty"` // 0: what a node has by itself
	// Complete says that every node has joined and has the root keys.
	Complete bool `json:"complete"`
}

// makePlan reads the directory's plan, or makes one of a new cluster.
func makePlan(o Options) (plan, error) {
	if err := checkOptions(o); err != nil {
		return plan{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return plan{}, fmt.Errorf("making the directory: %w", err)
	}
	p := plan{dir: o.Dir}
	text, err := os.ReadFile(filepath.Join(o.Dir, planFile))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return newPlan(o)
	case err != nil:
		return plan{}, fmt.Errorf("reading what the directory holds: %w", err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return plan{}, fmt.Errorf("reading %s in %s: %w", planFile, o.Dir, err)
	}
	return p, p.agree(o)
}

func checkOptions(o Options) error {
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return fmt.Errorf("--nodes %d must lie between 1 and %d", o.Nodes, maxNodes)
	}
	if !slices.Contains([]string{"", "soft", "pkcs11"}, o.Module) {
		return fmt.Errorf("--module %q must be soft or pkcs11", o.Module)
	}
	if last := o.Port + portsPerNode*maxNodes; o.Port < 0 || last > 65535 {
		return fmt.Errorf("--port %d must lie between 1 and %d", o.Port, 65535-portsPerNode*maxNodes)
	}
	if o.Calls < 0 || o.Calls > maxCalls {
		return fmt.Errorf("--calls %d must lie between 1 and %d", o.Calls, maxCalls)
	}
	return nil
}

func newPlan(o Options) (plan, error) {
	p := plan{dir: o.Dir, Nodes: o.Nodes, Module: o.Module, Port: o.Port, Calls: o.Calls}
	if p.Nodes == 0 {
		p.Nodes = defaultNodes
	}
	if p.Module == "" {
		p.Module = defaultModule
	}
	if p.Port == 0 {
		p.Port = defaultPort
	}
	if p.Module == "pkcs11" {
		library, err := findLibrary(o.PKCS11Library)
		if err != nil {
			return plan{}, err
		}
		p.PKCS11Library = library
	}
	return p, nil
}

// findLibrary is the SoftHSM2 library that tokens are made with.
func findLibrary(named string) (string, error) {
	if named == "" {
		return pkcs11.FindSoftHSM()
	}
	library, err := filepath.Abs(named)
	if err != nil {
		return "", fmt.Errorf("finding the PKCS #11 library: %w", err)
	}
	if _, err := os.Stat(library); err != nil {
		return "", fmt.Errorf("finding the PKCS #11 library: %w", err)
	}
	return library, nil
}

// agree refuses options that ask for another cluster than the directory holds.
func (p plan) agree(o Options) error {
	for _, option := range []struct {
		flag        string
		asked, have any
		differs     bool
	}{
		{"--nodes", o.Nodes, p.Nodes, o.Nodes != 0 && o.Nodes != p.Nodes},
		{"--module", o.Module, p.Module, o.Module != "" && o.Module != p.Module},
		{"--port", o.Port, p.Port, o.Port != 0 && o.Port != p.Port},
		{"--calls", o.Calls, cmp.Or(p.Calls, defaultCalls), o.Calls != 0 && o.Calls != cmp.Or(p.Calls, defaultCalls)},
	} {
		if option.differs {
			return fmt.Errorf("%s holds a cluster made with %s %v, not %v: leave the flag out, or choose another --dir", p.dir, option.flag, option.have, option.asked)
		}
	}
	return nil
}

// save keeps the plan for the next start.
func (p plan) save() error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", planFile, err)
	}
	return devfile.WriteAtomic(filepath.Join(p.dir, planFile), append(text, '\n'))
}

// The three ports of a node, as offsets from its first.
const (
	apiPort     = 0
	clusterPort = 1
	gossipPort  = 2
)

// address is one of the three addresses of node number i, counted from 0.
func (p plan) address(i, port int) string {
	return fmt.Sprintf("%s:%d", loopback, p.Port+portsPerNode*i+port)
}

// checkPorts refuses to start when a port is taken, before anything is written.
func (p plan) checkPorts(ctx context.Context) error {
	var lc net.ListenConfig
	for i := range p.Nodes {
		for _, port := range []int{apiPort, clusterPort, gossipPort} {
			address := p.address(i, port)
			listener, err := lc.Listen(ctx, "tcp", address)
			if err != nil {
				return fmt.Errorf("port in use: %w; stop what uses it, or give a new cluster another --port and --dir", err)
			}
			listener.Close()
		}
		packets, err := lc.ListenPacket(ctx, "udp", p.address(i, gossipPort))
		if err != nil {
			return fmt.Errorf("port in use: %w; stop what uses it, or give a new cluster another --port and --dir", err)
		}
		packets.Close()
	}
	return nil
}
