package nemesis_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// A power cut leaves what was flushed, and nothing that was only written; without
// that a test with it would show nothing.
func TestPowerCutLosesWhatNobodyFlushed(t *testing.T) {
	if noVolume(t) {
		return
	}
	at := filepath.Join(t.TempDir(), "at")
	v := volume(t, at)
	must(t, v.KeepUnflushed())
	for round := range 10 { // whoever else has the kernel flush everything may do it just then
		name := fmt.Sprint(round)
		f, err := os.Create(filepath.Join(at, name))
		must(t, err)
		_, err = f.WriteString("flushed")
		must(t, err, f.Sync())
		_, err = f.WriteString(" and written")
		must(t, err, f.Close(), os.WriteFile(filepath.Join(at, name+"w"), nil, 0o600))
		after := filepath.Join(t.TempDir(), "after")
		cut, err := v.PowerCut(filepath.Join(t.TempDir(), "image"), after)
		must(t, err)
		text, err := os.ReadFile(filepath.Join(after, name))
		if !strings.HasPrefix(string(text), "flushed") || err != nil {
			t.Errorf("what was flushed is %q, %v", text, err)
		}
		_, err = os.Stat(filepath.Join(after, name+"w"))
		must(t, cut.Close())
		if string(text) == "flushed" && os.IsNotExist(err) {
			return
		}
	}
	t.Error("what nobody flushed is there each time")
}

// A disk to which somebody writes meanwhile has no copy that is of one moment.
func TestNoPowerIsCutWhileADiskIsWritten(t *testing.T) {
	if noVolume(t) {
		return
	}
	at := filepath.Join(t.TempDir(), "at")
	v := volume(t, at)
	f, err := os.Create(filepath.Join(at, "file"))
	must(t, err)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- f.Close()
				return
			default:
			}
			if _, err := f.WriteString("x"); err != nil {
				t.Error(err)
			}
			if err := f.Sync(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := v.LosePower(); err == nil || !strings.Contains(err.Error(), "something was written to it") {
		t.Errorf("got %v", err)
	}
	close(stop)
	must(t, <-stopped, v.LosePower())
}

// keep goes on writing a byte to each of two files, of which it flushes the first.
func keep(dir, log string) {
	file := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			panic(err)
		}
		return f
	}
	size := func(f *os.File) int64 {
		info, err := f.Stat()
		if err != nil {
			panic(err)
		}
		return info.Size()
	}
	flushed, written, said := file(filepath.Join(dir, "flushed")), file(filepath.Join(dir, "written")), file(log)
	for verb := "found"; ; verb = "has" {
		if _, err := fmt.Fprintln(said, verb, size(flushed), size(written)); err != nil {
			panic(err)
		}
		for _, f := range []*os.File{written, flushed} {
			if _, err := f.WriteString("x"); err != nil {
				panic(err)
			}
		}
		if err := flushed.Sync(); err != nil {
			panic(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Nodes whose power is cut find everything that they had flushed, and not what they
// had only written: neither after the first cut nor after a later one.
func TestThePowerOfNodesIsCut(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.PowerOne)); err == nil || !strings.Contains(err.Error(), "cannot be cut") {
		t.Errorf("the power of nodes is cut of whose disks nobody has told: %v", err)
	}
	if noVolume(t) {
		return
	}
	n.Supplies, n.Processes = make(map[string]nemesis.Supply), nil
	s, logs := starter(t), make(map[string]string)
	for _, id := range []string{"n1", "n2", "n3"} {
		dir := t.TempDir()
		at := filepath.Join(dir, "at")
		v := volume(t, at)
		must(t, v.KeepUnflushed())
		logs[id] = filepath.Join(dir, "log")
		n.Supplies[id], n.Processes = v, append(n.Processes, process(t, s, id, "keep", at, logs[id]))
	}
	must(t, n.Heal())
	lines := func(id, verb string) int {
		text, err := os.ReadFile(logs[id])
		if !os.IsNotExist(err) { // it may not have begun
			must(t, err)
		}
		return strings.Count("\n"+string(text), "\n"+verb+" ")
	}
	lives := map[string]int{"n1": 1, "n2": 1, "n3": 1}
	for range 2 {
		for _, kind := range nemesis.PowerKinds() {
			for id := range logs {
				before := lines(id, "has")
				await(t, "something to lose", func() bool { return lines(id, "has") > before })
			}
			must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kind)))
			faults := n.Recorder.History().Faults
			met := faults[len(faults)-1].Nodes
			if want := map[nemesis.Kind]int{nemesis.PowerOne: 1, nemesis.PowerMinority: 1, nemesis.PowerAll: 3}[kind]; len(met) != want {
				t.Errorf("%s met %v", kind, met)
			}
			for _, id := range met {
				lives[id]++
			}
			for id, want := range lives {
				await(t, "a look at what is there", func() bool { return lines(id, "found") == want })
			}
		}
	}
	for _, p := range n.Processes {
		if crashes := p.Crashes(); len(crashes) > 0 {
			t.Errorf("crashes: %v", crashes)
		}
	}
	for id, log := range logs {
		if losses(t, id, log) == 0 {
			t.Errorf("%s has lost nothing that was only written", id)
		}
	}
}

// losses are how many lives of a process have found less than the one before had
// written; what it had flushed each has to find.
func losses(t *testing.T, id, log string) (lost int) {
	t.Helper()
	file, err := os.Open(log)
	must(t, err)
	defer file.Close()
	var flushed, written, hadFlushed, hadWritten int
	for text := bufio.NewScanner(file); text.Scan(); {
		var verb string
		_, err := fmt.Sscan(text.Text(), &verb, &flushed, &written)
		must(t, err)
		if verb == "found" && flushed < hadFlushed {
			t.Errorf("%s had flushed %d bytes and finds %d", id, hadFlushed, flushed)
		}
		if verb == "found" && written < hadWritten {
			lost++
		}
		hadFlushed, hadWritten = flushed, written
	}
	return lost
}
