package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/storage"
)

// What the state no longer holds is in no file of any node after each has
// erased, although nothing else happens in the cluster; and all of them go on,
// also after a restart.
func TestErase(t *testing.T) {
	t.Parallel()
	var dirs []string
	c := clustertest.Start(t, clustertest.Options{Configure: func(cfg *cluster.Config) { dirs = append(dirs, cfg.DataDir) }})
	secret := "recognisable" + strings.Repeat("!", 20)
	propose := func(command string) {
		t.Helper()
		ctx := patience(t)
		// A leader that has just written its log anew may lose its term; to say
		// the same again does no harm here.
		_, err := c.Members[1].Propose(ctx, []byte(command))
		for errors.Is(err, cluster.ErrOutcomeUnknown) && ctx.Err() == nil {
			_, err = c.Members[1].Propose(ctx, []byte(command))
		}
		if err != nil {
			t.Fatalf("proposing: %v", err)
		}
	}
	for i := range 20 {
		propose(fmt.Sprintf("k%d=%s", i, secret))
	}
	for i := range 20 {
		propose(fmt.Sprintf("k%d=gone", i))
	}
	for _, m := range c.Members {
		if _, err := m.Barrier(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	if found := holding(t, dirs, secret); len(found) != 3 {
		t.Fatalf("it stands in %v before: this test tests nothing", found)
	}
	for _, m := range c.Members {
		if err := m.Erase(patience(t)); err != nil {
			t.Fatalf("erasing on %s: %v", m.ID, err)
		}
	}
	if found := holding(t, dirs, secret); found != nil {
		t.Errorf("still in %v", found)
	}
	if err := c.Members[0].Erase(patience(t)); err != nil {
		t.Errorf("again, with nothing new: %v", err)
	}
	c.Restart(c.Members[2])
	if err := c.Members[2].Erase(patience(t)); err != nil {
		t.Errorf("again, with nothing new since the start: %v", err)
	}
	propose("k0=new")
	for _, m := range c.Members {
		c.Stop(m)
	}
	for _, m := range c.Members {
		c.Restart(m)
	}
	propose("k1=newer")
	for _, m := range c.Members {
		if _, err := m.Barrier(patience(t)); err != nil {
			t.Fatal(err)
		}
		if value(m, "k0") != "new" || value(m, "k1") != "newer" || value(m, "k2") != "gone" {
			t.Errorf("%s has %q, %q, %q", m.ID, value(m, "k0"), value(m, "k1"), value(m, "k2"))
		}
	}
}

// spoiler is a state machine whose snapshots are damaged by the disk while they
// are written, when it is armed.
type spoiler struct {
	*clustertest.Machine
	dir   string // of the snapshots
	armed atomic.Bool
}

func (s *spoiler) Snapshot() (io.WriterTo, error) {
	state, err := s.Machine.Snapshot()
	return &spoiled{WriterTo: state, spoiler: s}, err
}

type spoiled struct {
	io.WriterTo
	spoiler *spoiler
}

func (s *spoiled) WriteTo(w io.Writer) (n int64, err error) {
	if n, err = s.WriterTo.WriteTo(w); err != nil || !s.spoiler.armed.Load() {
		return n, err
	}
	if _, err := w.Write(make([]byte, 1<<20)); err != nil { // so that its begin is in the file
		return n, err
	}
	written, err := filepath.Glob(filepath.Join(s.spoiler.dir, "*.tmp", "state.bin"))
	if err != nil || len(written) != 1 {
		return n, fmt.Errorf("being written are %v: %w", written, err)
	}
	f, err := os.OpenFile(written[0], os.O_WRONLY, 0)
	if err != nil {
		return n, err
	}
	_, err = f.WriteAt([]byte("damaged"), 0)
	return n, errors.Join(err, f.Close())
}

// An erasure whose snapshot cannot be read back takes nothing away that the state
// could be rebuilt from: the node starts with all of it.
func TestAnErasureThatCannotBeReadBack(t *testing.T) {
	t.Parallel()
	machine := &spoiler{}
	c := clustertest.Start(t, clustertest.Options{Nodes: 1,
		Machine: func() cluster.StateMachine {
			machine.Machine = clustertest.NewMachine()
			return machine
		},
		Configure: func(cfg *cluster.Config) { machine.dir = filepath.Join(cfg.DataDir, "raft", "snapshots") },
	})
	m := c.Members[0]
	propose := func(command string) {
		t.Helper()
		if _, err := m.Propose(patience(t), []byte(command)); err != nil {
			t.Fatal(err)
		}
	}
	propose("k=old")
	if err := m.Erase(patience(t)); err != nil {
		t.Fatal(err)
	}
	propose("k=new")
	machine.armed.Store(true)
	if err := m.Erase(patience(t)); err == nil {
		t.Fatal("what was written cannot be read, and counts as erased")
	}
	machine.armed.Store(false)
	c.Restart(m)
	if _, err := m.Barrier(patience(t)); err != nil {
		t.Fatal(err)
	}
	if got := machine.Value("k"); got != "new" {
		t.Errorf("after a restart the value is %q", got)
	}
	if err := m.Erase(patience(t)); err != nil {
		t.Errorf("once the disk is well: %v", err)
	}
}

// holding returns the files below some directories in which a text stands.
func holding(t *testing.T, dirs []string, text string) (found []string) {
	t.Helper()
	err := storage.EachFile(t.Context(), func(path string, f *os.File) error {
		content, err := io.ReadAll(f)
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return err
	}, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
