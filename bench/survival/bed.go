package survival

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// Patience with processes.
const (
	foundPatience = 2 * time.Minute
	readyPatience = 5 * time.Minute // a million keys are read meanwhile
	stopPatience  = 30 * time.Second
	askPatience   = 2 * time.Second
	pollPeriod    = 10 * time.Millisecond
)

// module is what the nodes keep their root keys in.
const module = "soft"

// Options say which cluster to measure.
type Options struct {
	KMSD  string // the program
	Dir   string // an empty directory, which is the caller's to remove
	Nodes int    // three or more, so that one may die
	Port  int    // the first one; ten a node are used
	// Say is told what is being done; nil: nobody.
	Say func(format string, args ...any)
}

// Bed is a running cluster, all of whose processes are this package's.
type Bed struct {
	opts    Options
	file    *devfile.File
	ca      *x509.CertPool
	probe   *http.Client
	starter *nemesis.Starter
	nodes   []*node
	key     string // id of the CMK that is used
}

// node is one of its nodes.
type node struct {
	*nemesis.Process
	url     string
	dataDir string
	socket  *admin.Socket
	client  *client.Client // asks this node alone
}

// Found makes a cluster with kmsd dev, and starts its nodes again as processes
// of its own.
func Found(ctx context.Context, o Options) (*Bed, error) {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	o.Say("founding a cluster of %d nodes", o.Nodes)
	ctx, cancel := context.WithTimeout(ctx, foundPatience)
	defer cancel()
	b := &Bed{opts: o, starter: nemesis.NewStarter()}
	err := b.runDev(ctx)
	if err == nil {
		err = b.open()
	}
	if err == nil {
		err = b.startAll(ctx)
	}
	if err == nil {
		b.key, err = b.nodes[0].client.EnsureKey(ctx, "survival")
	}
	if err != nil {
		return nil, fmt.Errorf("founding a cluster: %w", errors.Join(err, b.Close()))
	}
	return b, nil
}

// runDev has kmsd dev make the cluster, and ends it.
func (b *Bed) runDev(ctx context.Context) error {
	dev := b.starter.NewProcess("kmsd dev", filepath.Join(b.opts.Dir, "dev.log"), b.opts.KMSD, "dev",
		"--dir", b.opts.Dir, "--nodes", strconv.Itoa(b.opts.Nodes), "--module", module, "--port", strconv.Itoa(b.opts.Port))
	if err := dev.Start(); err != nil {
		return err
	}
	for {
		var err error
		if b.file, err = devfile.Read(filepath.Join(b.opts.Dir, devfile.Name)); err == nil {
			return dev.Stop(stopPatience)
		}
		if dev.PID() == 0 || ctx.Err() != nil {
			return errors.Join(fmt.Errorf("kmsd dev did not get ready (see dev.log in %s): %w", b.opts.Dir, err), dev.Kill())
		}
		time.Sleep(pollPeriod)
	}
}

// open describes the nodes.
func (b *Bed) open() error {
	var err error
	if b.ca, err = client.ReadCA(b.file.CAFile); err != nil {
		return err
	}
	b.probe = &http.Client{Timeout: askPatience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: b.ca}}}
	for _, n := range b.file.Nodes {
		own, err := b.clientOf(n.URL)
		if err != nil {
			return err
		}
		dir := filepath.Join(b.opts.Dir, n.ID)
		b.nodes = append(b.nodes, &node{
			Process: b.starter.NewProcess(n.ID, filepath.Join(dir, "survival.log"), b.opts.KMSD, "serve", "--config", filepath.Join(dir, "kmsd.yaml")),
			url:     n.URL, dataDir: n.DataDir, client: own,
			socket: admin.Open(filepath.Join(dir, "admin.sock")),
		})
	}
	return nil
}

// clientOf makes a client that knows these nodes.
func (b *Bed) clientOf(urls ...string) (*client.Client, error) {
	return b.clientFor(b.file.ProjectID, urls...)
}

// clientFor makes one that uses the keys of a project.
func (b *Bed) clientFor(projectID string, urls ...string) (*client.Client, error) {
	return client.New(client.Config{
		Endpoints: urls, CA: b.ca, ProjectID: projectID,
		Refresh:   -1, // what is to go through one node does not find out that there are others
		AccessKey: b.file.AccessKey, SecretKey: b.file.SecretKey,
	})
}

// Close ends everything that runs.
func (b *Bed) Close() error {
	var all error
	for _, n := range b.nodes {
		all = errors.Join(all, n.Resume(), n.Kill())
		n.client.Close()
	}
	b.starter.Close()
	if b.probe != nil {
		b.probe.CloseIdleConnections()
	}
	return all
}

// startAll starts the nodes that do not run, and waits until all serve.
func (b *Bed) startAll(ctx context.Context) error {
	for _, n := range b.nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return b.ready(ctx)
}

// stopAll asks all nodes to end.
func (b *Bed) stopAll() error {
	problems := make(chan error, len(b.nodes))
	for _, n := range b.nodes {
		go func() { problems <- n.Stop(stopPatience) }()
	}
	var all error
	for range b.nodes {
		all = errors.Join(all, <-problems)
	}
	return all
}

// status asks one node.
func (n *node) status(ctx context.Context) (wire.StatusReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return n.socket.Status(ctx)
}

// ready waits until every node serves and knows the leader, and all have applied
// the same: what a fault before has left behind is no part of what comes next.
func (b *Bed) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for {
		err := b.readyNow(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pollPeriod):
		}
	}
}

func (b *Bed) readyNow(ctx context.Context) error {
	leader := ""
	for i, n := range b.nodes {
		s, err := n.status(ctx)
		switch {
		case n.PID() == 0:
			return fmt.Errorf("%s is not running: %v", n.ID(), n.Crashes())
		case err != nil:
			return fmt.Errorf("asking %s for its status: %w", n.ID(), err)
		case !s.Ready || s.Leader == "" || i > 0 && s.Leader != leader:
			return fmt.Errorf("%s does not serve yet: phase %q, leader %q, %s", n.ID(), s.Phase, s.Leader, s.NotReady)
		}
		for _, m := range s.Members {
			if m.Role != "voter" {
				return fmt.Errorf("%s is a %s", m.ID, m.Role)
			}
		}
		leader = s.Leader
	}
	return nil
}

// leading waits until every node serves, and returns the leader and the others.
func (b *Bed) leading(ctx context.Context) (leader *node, others []*node, err error) {
	for {
		if err := b.ready(ctx); err != nil {
			return nil, nil, err
		}
		s, err := b.nodes[0].status(ctx)
		if err != nil {
			return nil, nil, err
		}
		leader, others = nil, nil
		for _, n := range b.nodes {
			if n.ID() == s.Leader {
				leader = n
			} else {
				others = append(others, n)
			}
		}
		if leader != nil { // else it was lost since
			return leader, others, nil
		}
	}
}

// urls are those of nodes.
func urls(nodes []*node) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.url
	}
	return all
}

// discard reads an answer to its end, so that its connection is used again.
func discard(r *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	r.Body.Close()
}

// Memory is what a process holds of the machine's memory, in bytes
// (VmRSS of proc_pid_status(5)).
func Memory(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return resident * int64(os.Getpagesize()), nil
}
