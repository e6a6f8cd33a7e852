// Package dev runs a whole cluster on one machine, for development and trial:
// one child process per node, all on 127.0.0.1, everything in one directory.
//
// What it promises: the same directory starts again with the same state and
// the same credentials; dev.json exists exactly while the cluster is up; no
// child outlives this process; a child that dies is reported and left dead.
//
// What it never does: take part in the cluster. The nodes are ordinary
// processes of kmsd serve, set up over their admin sockets as an operator
// would, and any of them can be run by hand from its kmsd.yaml.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/raftkms/raftkms/client/devfile"
)

// Options say which cluster to run. Zero values mean what the directory's
// cluster already is and, for a new one, the stated default.
type Options struct {
	Nodes         int       // 1 to 7; 3
	Dir           string    // where everything lies
	Module        string    // soft or pkcs11; soft
	PKCS11Library string    // of SoftHSM2; found in the usual places
	Port          int       // node i uses Port+10*(i-1) and the two above it; 8440
	Calls         int       // that each node works on at once (limits.calls); 1024
	Demo          bool      // show the main job once the cluster is ready
	Executable    string    // the kmsd to run as children
	Out           io.Writer // what is going on, for people
}

// cluster is the running cluster.
type cluster struct {
	options Options
	plan    plan
	nodes   []*node
	say     *printer
	starter *starter
}

// Run starts the cluster and keeps it until ctx ends; then it stops all
// children and returns nil. An error says in one sentence what went wrong.
func Run(ctx context.Context, o Options) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("finding the directory: %w", err)
	}
	o.Dir = dir
	p, err := makePlan(o)
	if err != nil {
		return err
	}
	if err := p.checkPorts(ctx); err != nil {
		return err
	}
	c := &cluster{options: o, plan: p, nodes: p.layOut(), say: &printer{out: o.Out}, starter: newStarter()}
	defer c.starter.stop()
	if err := c.remove(devfile.Name); err != nil {
		return err
	}
	err = c.run(ctx)
	err = errors.Join(err, c.stop(), c.remove(devfile.Name))
	if err == nil {
		c.say.line("stopped")
	}
	return err
}

// run brings the cluster up, shows it, and waits.
func (c *cluster) run(ctx context.Context) error {
	credentials, err := c.bringUp(ctx)
	if err != nil {
		return ended(ctx, err)
	}
	path := filepath.Join(c.options.Dir, devfile.Name)
	if err := devfile.Write(path, c.describe(credentials)); err != nil {
		return err
	}
	c.say.line("ready: %d nodes, module %s; addresses and credentials are in %s", len(c.nodes), c.plan.Module, path)

	var watchers sync.WaitGroup
	defer watchers.Wait()
	for _, n := range c.nodes {
		watchers.Go(func() { c.report(ctx, n) })
	}
	if c.options.Demo {
		if err := c.demo(ctx, path); err != nil {
			c.say.line("the demonstration did not go through: %v", err)
			return ended(ctx, err)
		}
	}
	c.say.line("press Ctrl-C to stop")
	<-ctx.Done()
	c.say.line("stopping")
	return nil
}

// ended drops an error that came only because the operator asked to stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// report says when a child ends by itself, and leaves it dead.
func (c *cluster) report(ctx context.Context, n *node) {
	select {
	case <-ctx.Done():
	case <-n.child.ended:
		if ctx.Err() == nil {
			c.say.line("%s (pid %d) has ended: %s; bring it back with: kmsd serve --config %s", n.id, n.child.pid, n.child.reason(), n.configFile)
		}
	}
}

// stop ends all children that still run.
func (c *cluster) stop() error {
	var all sync.WaitGroup
	problems := make([]error, len(c.nodes))
	for i, n := range c.nodes {
		if n.child != nil {
			all.Go(func() { problems[i] = n.child.stop() })
		}
	}
	all.Wait()
	return errors.Join(problems...)
}

func (c *cluster) remove(name string) error {
	err := os.Remove(filepath.Join(c.options.Dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the old %s: %w", name, err)
	}
	return nil
}

// printer writes whole lines, from any goroutine.
type printer struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "kmsd dev: "+format+"\n", args...) // a closed terminal stops nothing
}

// plain writes a line without the program's name.
func (p *printer) plain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}
