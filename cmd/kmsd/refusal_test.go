package main_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
)

// TestStartsThatAreRefused shows what a node says that must not start: wrong
// tokens, and data directories and modules that do not belong together. Two
// clusters of one node, one after the other on the same ports, are enough.
func TestStartsThatAreRefused(t *testing.T) {
	port := freePort(t, 1)
	ours, theirs := filepath.Join(t.TempDir(), "ours"), filepath.Join(t.TempDir(), "theirs")
	c := startCluster(t, ours, "--nodes", "1", "--port", strconv.Itoa(port))
	used, unused := joinToken(t, c), joinToken(t, c)
	config := nodeFile(t, freePort(t, 1))
	founding := filepath.Join(filepath.Dir(config), "data", "founding")
	must(t, os.Mkdir(filepath.Dir(founding), 0o700))
	must(t, os.WriteFile(founding, nil, 0o600)) // a `cluster init` before has failed
	joiner := start(t, "serve", "--config", config, "--cluster-join-token-file", used)
	socket := admin.Open(filepath.Join(filepath.Dir(config), "data", "admin.sock"))
	await(t, "the first joiner", func() bool { // it is a member before it knows
		status, err := socket.Status(context.Background())
		return err == nil && len(status.Members) == 2
	})
	if _, err := os.Stat(founding); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the mark of a cluster that was not founded is still there (%v): this node would not start again", err)
	}
	joiner.stop(syscall.SIGTERM)
	wantOneSentence(t, []string{"the join token was used"},
		"serve", "--config", nodeFile(t, freePort(t, 1)), "--cluster-join-token-file", used)
	garbage := secretFile(t, "no token")
	wantOneSentence(t, []string{"token"},
		"serve", "--config", nodeFile(t, freePort(t, 1)), "--cluster-join-token-file", garbage)
	c.stop(syscall.SIGTERM)

	other := startCluster(t, theirs, "--nodes", "1", "--port", strconv.Itoa(port))
	wantOneSentence(t, []string{"its CA has another fingerprint"},
		"serve", "--config", nodeFile(t, freePort(t, 1)), "--cluster-join-token-file", unused)
	other.stop(syscall.SIGTERM)

	f := func(spoil func(data string) error, args []string, want ...string) {
		t.Helper()
		config := copyNode(t, filepath.Join(ours, "node-1"))
		if err := spoil(filepath.Join(filepath.Dir(config), "data")); err != nil {
			t.Fatal(err)
		}
		wantOneSentence(t, want, append([]string{"serve", "--config", config}, args...)...)
	}
	foreign := func(names ...string) func(string) error {
		return func(data string) error {
			for _, name := range names {
				text, err := os.ReadFile(filepath.Join(theirs, "node-1", "data", name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(data, name), text, 0o600); err != nil {
					return err
				}
			}
			return nil
		}
	}
	f(foreign("ca.crt"), nil, "the CA is that of cluster")
	f(foreign("node.crt", "node.key"), nil, "certificate")
	f(foreign("identity.json", "ca.crt", "node.crt", "node.key"), nil, "module belongs to another cluster")
	f(foreign("module/roots", "module/private-key", "module/unlock-key"), nil, "module belongs to another cluster")
	f(foreign("module/unlock-key"), nil, "does not open the private key")
	f(func(data string) error { return os.RemoveAll(filepath.Join(data, "module")) }, nil, "module holds no root keys")
	f(func(data string) error { return os.Remove(filepath.Join(data, "module", "roots")) }, nil, "the roots file", "is missing")
	f(func(data string) error { return os.RemoveAll(filepath.Join(data, "raft")) }, nil, "log", "is gone")
	f(func(string) error { return nil }, []string{"--node-id", "other"}, "belongs to node node-1")
}

// joinToken makes a token on the first node and returns a file with it.
func joinToken(t *testing.T, c *cluster) string {
	t.Helper()
	reply, err := c.admin(0).JoinToken(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return secretFile(t, reply.Token)
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := devfile.WriteAtomic(file, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return file
}

// copyNode copies a stopped node's directory and returns the copy's
// configuration, which names the copy.
func copyNode(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "node")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600) // CopyFS adds what the umask allows
	})
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(to, "kmsd.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), dir, to)), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// checkHardening wants that a cluster's files are their owner's alone, and
// that its processes write no cores.
func checkHardening(t *testing.T, c *cluster) {
	t.Helper()
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == c.dir {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, n := range c.file.Nodes {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", n.PID))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(limits), "\n") {
			if fields := strings.Fields(strings.TrimPrefix(line, "Max core file size")); strings.HasPrefix(line, "Max core file size") && fields[0] != "0" {
				t.Errorf("%s may write cores: %s", n.ID, line)
			}
		}
	}
}
