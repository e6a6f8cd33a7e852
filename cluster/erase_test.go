package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
