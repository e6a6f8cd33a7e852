package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/raftkms/raftkms/client/devfile"
)

// devTimeout bounds the start of a cluster.
const devTimeout = 90 * time.Second

// devCluster is a cluster that kmsbench runs for itself with kmsd dev.
type devCluster struct {
	path  string // of its dev.json
	cmd   *exec.Cmd
	dir   string
	ended chan struct{} // closed once the process is reaped
	err   error         // of the wait; read after ended
}

// clusterOptions say which cluster to run.
type clusterOptions struct {
	kmsd   string // the program; empty: kmsd beside kmsbench
	nodes  int
	module string
	port   int
	// library is the PKCS#11 library; empty: SoftHSM where it is found.
	library string
	// calls are worked on at once by each node; 0: as many as by itself.
	calls int
}

// startCluster runs kmsd dev in a temporary directory until stop.
func startCluster(ctx context.Context, o clusterOptions) (*devCluster, error) {
	if o.kmsd == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this program: %w", err)
		}
		o.kmsd = filepath.Join(filepath.Dir(self), "kmsd")
	}
	dir, err := os.MkdirTemp("", "kmsbench")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the cluster: %w", err)
	}
	d := &devCluster{path: filepath.Join(dir, devfile.Name), dir: dir, ended: make(chan struct{})}
	d.cmd = exec.Command(o.kmsd, "dev", "--dir", dir, "--nodes", strconv.Itoa(o.nodes),
		"--module", o.module, "--port", strconv.Itoa(o.port))
	if o.library != "" {
		d.cmd.Args = append(d.cmd.Args, "--pkcs11-library", o.library)
	}
	if o.calls != 0 {
		d.cmd.Args = append(d.cmd.Args, "--calls", strconv.Itoa(o.calls))
	}
	d.cmd.Stderr = os.Stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours to pass on
	if err := d.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting kmsd dev: %w", err), os.RemoveAll(dir))
	}
	go func() { // ends with the process, for which stop waits
		defer close(d.ended)
		d.err = d.cmd.Wait()
	}()
	if err := d.await(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// await waits for dev.json.
func (d *devCluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, devTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := os.Stat(d.path); err == nil {
			return nil
		}
		select {
		case <-d.ended:
			return errors.New("kmsd dev ended before the cluster was ready")
		case <-ctx.Done():
			return fmt.Errorf("kmsd dev was not ready within %s: %w", devTimeout, ctx.Err())
		case <-ticker.C:
		}
	}
}

// stop ends the cluster and removes its directory.
func (d *devCluster) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping kmsd dev: %w", err)
	}
	<-d.ended
	if err := errors.Join(d.err, os.RemoveAll(d.dir)); err != nil {
		return fmt.Errorf("stopping kmsd dev: %w", err)
	}
	return nil
}
