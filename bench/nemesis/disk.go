package nemesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A disk that is slow or fails is made of the real one: strace holds a process's
// system calls that make writes durable back, or answers them with EIO.

// The kinds that need strace; see [DiskTrouble].
const (
	SlowDisk Kind = "slow-disk" // what any node wants durable takes long
	FailDisk Kind = "fail-disk" // it does not get durable at all: the node must end, not go on or try again
)

// DiskKinds are those that need strace.
func DiskKinds() []Kind { return []Kind{SlowDisk, FailDisk} }

// DiskTrouble says why there can be no trouble with disks here; nil: there can.
func DiskTrouble() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("trouble with disks takes strace: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("trouble with disks takes root, since a node lets nobody else trace it")
	}
	if out, err := exec.Command("strace", "-q", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("trouble with disks takes leave to trace processes: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

const (
	slowestSync   = 300 * time.Millisecond
	attachTime    = 30 * time.Second // for strace to take hold of every thread
	endAfterError = 60 * time.Second // for a node to end whose disk fails; it is under load
	lookPeriod    = 20 * time.Millisecond
)

// disk makes a disk slow, or has it fail, until the end of the fault.
func (n *Nemesis) disk(ctx context.Context, a Action, victim *Process) error {
	if err := DiskTrouble(); err != nil {
		return err
	}
	how := fmt.Sprintf("delay_exit=%d", (slowestSync/10 + time.Duration(a.Victim)*slowestSync/(1<<16)).Microseconds())
	if a.Kind == FailDisk {
		how = "error=EIO"
		victim.MayEnd()
	}
	pid := victim.PID()
	tracer := victim.starter.NewProcess("strace", os.DevNull,
		"strace", "-f", "-q", "-o", os.DevNull, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:"+how, "-p", fmt.Sprint(pid))
	if err := tracer.Start(); err != nil {
		return err
	}
	err := n.whileTraced(ctx, a, victim, pid)
	return errors.Join(err, tracer.Stop(stopPatience))
}

func (n *Nemesis) whileTraced(ctx context.Context, a Action, victim *Process, pid int) error {
	if !within(ctx, attachTime, func() bool { return traced(pid) || victim.PID() != pid }) {
		return fmt.Errorf("nobody traces %s (pid %d)", victim.ID(), pid)
	}
	if a.Kind == FailDisk {
		if !within(ctx, endAfterError, func() bool { return victim.PID() != pid }) {
			return fmt.Errorf("%s goes on %s after its disk has begun to fail", victim.ID(), endAfterError)
		}
	}
	sleep(ctx, a.Length)
	return nil
}

// traced says whether a process has a tracer.
func traced(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, after, has := bytes.Cut(status, []byte("TracerPid:"))
	line, _, _ := strings.Cut(string(after), "\n")
	return err == nil && has && strings.TrimSpace(line) != "0"
}

// within waits until something is so; false: it was not in time.
func within(ctx context.Context, patience time.Duration, so func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, lookPeriod) {
		if so() {
			return true
		}
	}
	return so()
}
