package nemesis

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Starter starts processes from one operating-system thread that lives until
// Close: the kernel sends a child its parent-death signal when the thread that
// started it ends, not the process.
type Starter struct {
	jobs chan func()
	done chan struct{}
}

// NewStarter starts the thread.
func NewStarter() *Starter {
	s := &Starter{jobs: make(chan func()), done: make(chan struct{})}
	go s.serve()
	return s
}

// serve works on a thread of its own until Close.
func (s *Starter) serve() {
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

// Close ends the thread, and with it every process that it started.
func (s *Starter) Close() {
	close(s.jobs)
	<-s.done
}

// do runs a job on the thread.
func (s *Starter) do(job func() error) error {
	result := make(chan error)
	s.jobs <- func() { result <- job() }
	return <-result
}

// start starts a process, in a namespace of the network where one is given.
func (s *Starter) start(cmd *exec.Cmd, space *Space) error {
	if space == nil {
		return s.do(cmd.Start)
	}
	return s.do(func() error { return space.In(cmd.Start) })
}

// Process is one node's process, over all its lives. It is safe for concurrent
// use.
type Process struct {
	id      string
	starter *Starter
	argv    []string
	logFile string
	space   *Space // nil: that of this process

	mu      sync.Mutex
	life    *life
	crashes []string
}

// life is one run of the process.
type life struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process is reaped
	asked bool          // it was told to end; guarded by Process.mu

	shifted bool // its clock is, or was, not the machine's; likewise
}

// NewProcess describes a process that is not started yet: its node's id, its
// program and arguments, and the file to which its output is appended.
func (s *Starter) NewProcess(id, logFile string, argv ...string) *Process {
	return &Process{id: id, starter: s, argv: argv, logFile: logFile}
}

// Settle has all lives of the process be in a namespace of the network. It is
// called before the first one.
func (p *Process) Settle(space *Space) { p.space = space }

// ID is the node's id.
func (p *Process) ID() string { return p.id }

// Start starts the process; one that lives already is left alone.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive() {
		return nil
	}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.id, err)
	}
	defer log.Close() // the process has its own descriptor
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.starter.start(cmd, p.space); err != nil {
		return fmt.Errorf("starting %s: %w", p.id, err)
	}
	l := &life{cmd: cmd, ended: make(chan struct{})}
	p.life = l
	go func() { // ends with the process, for which Kill waits
		err := cmd.Wait()
		p.mu.Lock()
		if !l.asked {
			p.crashes = append(p.crashes, fmt.Sprintf("%s (pid %d) ended by itself: %v", p.id, cmd.Process.Pid, err))
		}
		p.mu.Unlock()
		close(l.ended)
	}()
	return nil
}

// alive says whether there is a life that has not ended; mu is held.
func (p *Process) alive() bool {
	if p.life == nil {
		return false
	}
	select {
	case <-p.life.ended:
		return false
	default:
		return true
	}
}

// PID is the id of the living process, and 0 when there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return 0
	}
	return p.life.cmd.Process.Pid
}

// Crashes says when the process ended without having been told to.
func (p *Process) Crashes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.crashes...)
}

// MayEnd says that the present process may end by itself: something was done
// that it has to end for.
func (p *Process) MayEnd() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil {
		p.life.asked = true
	}
}

// Kill ends the process at once (SIGKILL) and returns when it is gone.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL, 0) }

// Stop asks the process to end (SIGTERM), and kills it if that takes too long,
// which is an error.
func (p *Process) Stop(patience time.Duration) error { return p.end(syscall.SIGTERM, patience) }

func (p *Process) end(signal syscall.Signal, patience time.Duration) error {
	p.mu.Lock()
	if !p.alive() {
		p.mu.Unlock()
		return nil
	}
	l := p.life
	l.asked = true
	p.mu.Unlock()
	if err := l.signal(signal); err != nil {
		return fmt.Errorf("ending %s: %w", p.id, err)
	}
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-l.ended:
			return nil
		case <-timer.C:
		}
		if err := l.signal(syscall.SIGKILL); err != nil {
			return fmt.Errorf("ending %s: %w", p.id, err)
		}
		<-l.ended
		return fmt.Errorf("%s did not end within %s of being asked", p.id, patience)
	}
	<-l.ended
	return nil
}

// Pause stops the process as it stands (SIGSTOP); Resume lets it go on.
func (p *Process) Pause() error { return p.send(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (p *Process) Resume() error { return p.send(syscall.SIGCONT) }

// Dump has the process write the stacks of its goroutines into its log and end.
func (p *Process) Dump() error { return p.end(syscall.SIGQUIT, 10*time.Second) }

func (p *Process) send(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() {
		return nil
	}
	if err := p.life.signal(signal); err != nil {
		return fmt.Errorf("sending %s to %s: %w", signal, p.id, err)
	}
	return nil
}

// signal is sent through os.Process, which never reaches a process that was
// reaped: its id may be another's by then.
func (l *life) signal(signal syscall.Signal) error {
	if err := l.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}
