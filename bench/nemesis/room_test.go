package nemesis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// noVolume is for who cannot mount a file system: that has to be told.
func noVolume(t *testing.T) bool {
	t.Helper()
	trouble := nemesis.VolumeTrouble()
	if trouble == nil {
		return false
	}
	if _, err := nemesis.NewVolume(filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "at"), 1<<20); err == nil {
		t.Errorf("a file system where %v", trouble)
	}
	return true
}

// volume mounts a file system until the end of the test.
func volume(t *testing.T, at string) *nemesis.Volume {
	t.Helper()
	v, err := nemesis.NewVolume(filepath.Join(t.TempDir(), "image"), at, 4<<20)
	must(t, err)
	t.Cleanup(func() { must(t, v.Close()) })
	return v
}

func TestAVolumeIsFilledAndCleared(t *testing.T) {
	if noVolume(t) {
		return
	}
	at := filepath.Join(t.TempDir(), "at")
	v := volume(t, at)
	write := func() error { return os.WriteFile(filepath.Join(at, "file"), make([]byte, 64<<10), 0o600) }
	for range 2 {
		must(t, write(), os.Remove(filepath.Join(at, "file")), v.Fill())
		if err := write(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a full disk has room for a file: %v", err)
		}
		must(t, os.Remove(filepath.Join(at, "file")), v.Fill(), v.Clear(), v.Clear())
	}
	if all, err := os.ReadDir(at); err != nil || len(all) > 0 {
		t.Errorf("it holds %v, %v", all, err)
	}
}

// A disk stays full until the node has ended or says that it cannot serve; the
// node is started when there is room again.
func TestADiskIsFull(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.FullDisk)); err == nil || !strings.Contains(err.Error(), "cannot be filled") {
		t.Errorf("disks that nobody has told of are full: %v", err)
	}
	if noVolume(t) {
		return
	}
	state, traces := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "traces")
	n.Rooms = map[string]nemesis.Rooms{"n1": {State: volume(t, state), Traces: volume(t, traces)}}
	p := process(t, starter(t), "n1", "write", filepath.Join(state, "file"))
	n.Processes = []*nemesis.Process{p}
	n.Leader = func(context.Context) string { return "n1" }
	n.Refuses = func(context.Context, string) string { return "" }
	must(t, n.Heal())
	for _, kind := range []nemesis.Kind{nemesis.FullDisk, nemesis.FullStart, nemesis.FullAll} {
		first := p.PID()
		must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kind)))
		if p.PID() == first || p.PID() == 0 || len(p.Crashes()) > 0 {
			t.Errorf("after %s it is %d, %d before; crashes: %v", kind, p.PID(), first, p.Crashes())
		}
	}
	first := p.PID()
	n.Refuses = func(context.Context, string) string { return "the disk of the trace log is full" }
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.FullTraces)))
	if p.PID() != first {
		t.Error("a full disk for traces has ended the process")
	}
	faults := n.Recorder.History().Faults
	if last := faults[len(faults)-1].Detail; !strings.Contains(last, "0 ended, 1 refused: the disk of the trace log is full") {
		t.Errorf("recorded as %q", last)
	}
}

// waitsForDisk says whether a thread of a process is in a sleep that no signal ends.
func waitsForDisk(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	return err == nil && slices.ContainsFunc(tasks, func(task string) bool {
		text, err := os.ReadFile(task)
		return err == nil && strings.Contains(string(text), "State:\tD")
	})
}

// A disk hangs so that not even SIGKILL ends who waits for it, until the node is
// known to be gone; what is left of it ends when the disk answers.
func TestADiskHangs(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.HangDisk)); err == nil || !strings.Contains(err.Error(), "cannot be made to hang") {
		t.Errorf("disks that nobody has told of hang: %v", err)
	}
	if noVolume(t) {
		return
	}
	state := filepath.Join(t.TempDir(), "state")
	v := volume(t, state)
	n.Rooms = map[string]nemesis.Rooms{"n1": {State: v, Traces: v}}
	p := process(t, starter(t), "n1", "write", filepath.Join(state, "file"))
	n.Processes = []*nemesis.Process{p}
	n.Gone = func(context.Context, string) bool {
		pid := p.PID()
		if !waitsForDisk(pid) {
			return false
		}
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		time.Sleep(100 * time.Millisecond)
		if !waitsForDisk(pid) {
			t.Error("SIGKILL has ended it")
		}
		return true
	}
	must(t, n.Heal())
	for _, kind := range nemesis.HangKinds() {
		first := p.PID()
		must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kind)))
		if p.PID() == first || p.PID() == 0 || len(p.Crashes()) > 0 {
			t.Errorf("after %s it is %d, %d before; crashes: %v", kind, p.PID(), first, p.Crashes())
		}
	}
	must(t, v.Freeze(), v.Thaw(), v.Thaw(), os.WriteFile(filepath.Join(state, "other"), nil, 0o600))
}
