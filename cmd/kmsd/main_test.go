package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// These tests see the product as its users do: real processes, real sockets,
// the vendor's SDK. kmsd is built once.

// kmsd is the path of the program under test.
var kmsd string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "kmsd")
	if err != nil {
		panic(err)
	}
	kmsd = filepath.Join(dir, "kmsd")
	build := exec.Command("go", "build", "-o", kmsd, ".")
	build.Stderr = os.Stderr
	status := 1
	if err := build.Run(); err == nil {
		status = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(status)
}

// maxShown is how much of a process's output a failing test shows, in bytes.
const maxShown = 8000

// Patience of the tests with processes that start and stop.
const (
	startTimeout = 90 * time.Second
	stopTimeout  = 60 * time.Second
	pollPeriod   = 20 * time.Millisecond
)

// freePort finds a first port such that all ports of a dev cluster are free.
// It stays below the range from which the kernel gives out ports by itself.
func freePort(t *testing.T, nodes int) int {
	t.Helper()
	for range 100 {
		port := 10000 + 10*rand.IntN(2000)
		if portsFree(port, nodes) {
			return port
		}
	}
	t.Fatal("no free ports found")
	return 0
}

func portsFree(port, nodes int) bool {
	for i := range nodes {
		for j := range 3 {
			listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10*i+j))
			if err != nil {
				return false
			}
			listener.Close()
		}
	}
	return true
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// process is one run of kmsd.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *output
	ended chan struct{}
	err   error // read after ended
}

// start runs kmsd; the test's end kills it if it is still there.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startProgram(t, kmsd, args...)
}

// startProgram is start of another build of kmsd.
func startProgram(t *testing.T, program string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return startCommand(t, cmd)
}

// startCommand is start of a command that gives the process something besides.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, out: new(output), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if text := p.out.String(); t.Failed() {
			t.Logf("kmsd %v (%v) said:\n%s", cmd.Args[1:], p.err, text[max(0, len(text)-maxShown):])
		}
	})
	return p
}

// wait waits for the process to end by itself.
func (p *process) wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(stopTimeout):
		p.t.Fatalf("kmsd %v did not end; it said:\n%s", p.cmd.Args[1:], p.out)
		return nil
	}
}

// stop asks the process to end and expects that it does so cleanly.
func (p *process) stop(signal os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		p.t.Errorf("kmsd %v: %v; it said:\n%s", p.cmd.Args[1:], err, p.out)
	}
}

// cluster is a running kmsd dev.
type cluster struct {
	*process
	dir  string
	file *devfile.File
}

// startCluster runs kmsd dev and waits for dev.json.
func startCluster(t *testing.T, dir string, args ...string) *cluster {
	t.Helper()
	c := &cluster{dir: dir, process: start(t, append([]string{"dev", "--dir", dir}, args...)...)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs())
		}
	})
	await(t, "dev.json", func() bool {
		select {
		case <-c.ended:
			t.Fatalf("kmsd dev ended: %v", c.err)
		default:
		}
		file, err := devfile.Read(filepath.Join(dir, devfile.Name))
		c.file = file
		return err == nil
	})
	return c
}

// logs is the tail of every node's log, for a failing test.
func (c *cluster) logs() string {
	var all strings.Builder
	files, _ := filepath.Glob(filepath.Join(c.dir, "node-*", "kmsd.log"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(&all, "--- %s\n%s\n", file, text[max(0, len(text)-maxShown):])
	}
	return all.String()
}

// configFile is the configuration of node number i, counted from 0.
func (c *cluster) configFile(i int) string {
	return filepath.Join(c.dir, c.file.Nodes[i].ID, "kmsd.yaml")
}

func (c *cluster) admin(i int) *admin.Socket {
	return admin.Open(c.file.Nodes[i].AdminSocket())
}

// leader is the number of the node that leads, as the node asked says.
func (c *cluster) leader(t *testing.T, asked int) int {
	t.Helper()
	leader := -1
	await(t, "a leader", func() bool {
		status, err := c.admin(asked).Status(context.Background())
		if err != nil {
			return false
		}
		for i, n := range c.file.Nodes {
			if n.ID == status.Leader {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

// awaitReady waits until a node says that it serves.
func (c *cluster) awaitReady(t *testing.T, i int) {
	t.Helper()
	await(t, c.file.Nodes[i].ID+" to serve", func() bool {
		status, err := c.admin(i).Status(context.Background())
		return err == nil && status.Ready && status.Phase == "serving"
	})
}

// status returns the status of a node that answers.
func (c *cluster) status(t *testing.T, i int) wire.StatusReply {
	t.Helper()
	status, err := c.admin(i).Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// await polls until good.
func await(t *testing.T, what string, good func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(pollPeriod) {
		if good() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

// kill ends a process at once and waits until it is gone.
func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("killing process %d, which should be there: %v", pid, err)
	}
	awaitGone(t, pid)
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	await(t, "process "+strconv.Itoa(pid)+" to end", func() bool {
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
	})
}
