package dev

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// stopPatience is how long a child may take over a clean stop.
const stopPatience = 20 * time.Second

// starter starts children from one operating-system thread that lives as long
// as this process needs them: the kernel sends a child its parent-death signal
// when the thread that started it ends, not the process.
type starter struct {
	jobs chan func()
	done chan struct{}
}

func newStarter() *starter {
	s := &starter{jobs: make(chan func()), done: make(chan struct{})}
	go s.serve()
	return s
}

// serve works on a thread of its own until stop.
func (s *starter) serve() {
	runtime.LockOSThread()
	if syscall.Gettid() == os.Getpid() {
		// The runtime never ends the process's first thread. Held here, it
		// cannot be given to the next goroutine.
		defer runtime.UnlockOSThread()
		go s.serve()
		<-s.done
		return
	}
	// Never unlocked: the thread ends with this goroutine.
	defer close(s.done)
	for job := range s.jobs {
		job()
	}
}

// stop ends the thread, and with it every child that is still alive.
func (s *starter) stop() {
	close(s.jobs)
	<-s.done
}

// start runs cmd.Start on the thread.
func (s *starter) start(cmd *exec.Cmd) error {
	result := make(chan error)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// child is one process of kmsd serve.
type child struct {
	id    string
	pid   int
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process is reaped
	err   error         // of the wait; read after ended
}

// launch starts the node's process in a process group of its own, so that a
// Ctrl-C in the terminal reaches the parent alone.
func (n *node) launch(s *starter, executable string) error {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", n.id, err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(executable, "serve", "--config", n.configFile)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.start(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", n.id, err)
	}
	c := &child{id: n.id, pid: cmd.Process.Pid, cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the process, for which stop waits
		defer close(c.ended)
		c.err = cmd.Wait()
	}()
	n.child = c
	return nil
}

// environment is this process's without kmsd's own settings: they would
// override the same setting of every node.
func environment() []string {
	var kept []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, config.EnvironmentPrefix) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// reason says how the process ended; it has.
func (c *child) reason() string {
	if c.err == nil {
		return "it was asked to stop"
	}
	return c.err.Error()
}

// stop asks the process to end and, when it does not, ends it. It returns
// after the process is gone; one that had ended before is no error.
func (c *child) stop() error {
	select {
	case <-c.ended:
		return nil
	default:
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", c.id, err)
	}
	timer := time.NewTimer(stopPatience)
	defer timer.Stop()
	select {
	case <-c.ended:
		return nil
	case <-timer.C:
	}
	_ = c.cmd.Process.Kill() // it fails only for a process that is gone
	<-c.ended
	return fmt.Errorf("%s did not stop within %s and was killed; see its log", c.id, stopPatience)
}
