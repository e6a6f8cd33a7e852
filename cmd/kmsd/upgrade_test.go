package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/raftkms/raftkms/client/admin"
)

// TestRollingUpgrade takes a cluster from one program to another that knows one
// feature level more, node by node, and shows that there is a way back until the
// level is raised, and none afterwards. With one node here; of three, with leaders
// on either side, where RAFTKMS_TORTURE is set.
func TestRollingUpgrade(t *testing.T) {
	next := filepath.Join(t.TempDir(), "kmsd-next")
	build := exec.Command("go", "build", "-ldflags", "-X main.featureLevel=2 -X main.version=next", "-o", next, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the next version: %v\n%s", err, out)
	}
	count := 1
	if os.Getenv("RAFTKMS_TORTURE") != "" {
		count = 3
	}
	c := startCluster(t, t.TempDir(), "--nodes", strconv.Itoa(count), "--port", strconv.Itoa(freePort(t, count)))
	c.stop(syscall.SIGINT)
	nodes := make([]*process, count)
	run := func(i int, program string) {
		t.Helper()
		nodes[i] = startProgram(t, program, "serve", "--config", c.configFile(i))
	}
	change := func(i int, program, version string) {
		t.Helper()
		nodes[i].stop(syscall.SIGTERM)
		run(i, program)
		c.awaitReady(t, i)
		await(t, c.file.Nodes[i].ID+" to say that it is of version "+version, func() bool {
			status, err := c.admin(i).Upgrade(t.Context())
			return err == nil && (status.Nodes[i].Version == "next") == (version == "next")
		})
	}
	// written wants that all nodes take writes under each of the leaders.
	written := func() {
		t.Helper()
		for _, leader := range c.file.Nodes {
			if count > 1 {
				await(t, leader.ID+" to lead", func() bool {
					reply, err := c.admin(0).TransferLeadership(t.Context(), leader.ID)
					return err == nil && reply.Leader == leader.ID || c.status(t, 0).Leader == leader.ID
				})
			}
			for i := range nodes {
				if _, err := c.admin(i).JoinToken(t.Context(), 0); err != nil {
					t.Errorf("a write at node %d, led by %s: %v", i+1, leader.ID, err)
				}
			}
		}
	}
	for i := range nodes {
		run(i, kmsd)
	}
	for i := range nodes {
		c.awaitReady(t, i)
	}
	for i := range nodes {
		_, err := c.admin(0).RaiseLevel(t.Context(), 2)
		if want := "node " + c.file.Nodes[i].ID + " runs raftkms"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("raising the level with %d new nodes: %v, want %q", i, err, want)
		}
		change(i, next, "next")
		written()
		if i == 0 { // its operator thinks better of it
			change(i, kmsd, "before")
			change(i, next, "next")
		}
	}
	old := backUp(t, c, "before")
	token := joinToken(t, c)
	status, err := c.admin(0).RaiseLevel(t.Context(), 0)
	if err != nil || status.Level != 2 || len(status.Nodes) != count {
		t.Fatalf("raising the level: %+v, %v", status, err)
	}
	written()
	backup := backUp(t, c, "after")
	for _, file := range []string{old, backup} {
		if err := checkBackup(t, c.admin(0), file); err != nil {
			t.Errorf("checking a backup with the program that wrote it: %v", err)
		}
	}
	checkWithOlder(t, c, old, backup)
	wantOneSentence(t, []string{"feature levels 1 to 1 and not 2"},
		"serve", "--config", nodeFile(t, freePort(t, 1)), "--cluster-join-token-file", token)
	nodes[0].stop(syscall.SIGTERM)
	wantOneSentence(t, []string{"a feature level that this version of raftkms does not know"}, "serve", "--config", c.configFile(0))
	run(0, next)
	c.awaitReady(t, 0)
	written()
	for _, node := range nodes {
		node.stop(syscall.SIGTERM)
	}
}

// backUp has the first node write a backup, and returns the file.
func backUp(t *testing.T, c *cluster, name string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.admin(0).Backup(t.Context(), file), file.Close()); err != nil {
		t.Fatalf("writing a backup: %v", err)
	}
	return file.Name()
}

func checkBackup(t *testing.T, s *admin.Socket, name string) error {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = s.CheckBackup(t.Context(), file)
	return err
}

// checkWithOlder wants that the program from before, on a node without a cluster
// that has a copy of the module, reads the backup from before the level was
// raised, and says of the other one what to do.
func checkWithOlder(t *testing.T, c *cluster, before, after string) {
	t.Helper()
	config := nodeFile(t, freePort(t, 1))
	dir := filepath.Dir(config)
	from := filepath.Join(c.dir, c.file.Nodes[0].ID, "data", "module")
	if err := os.CopyFS(filepath.Join(dir, "data", "module"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "module", "*"))
	for _, file := range append(files, filepath.Join(dir, "data"), filepath.Join(dir, "data", "module")) {
		err = errors.Join(err, os.Chmod(file, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	older := start(t, "serve", "--config", config)
	s := admin.Open(filepath.Join(dir, "data", "admin.sock"))
	await(t, "the older program", func() bool {
		status, err := s.Status(t.Context())
		return err == nil && status.Phase == "empty"
	})
	if err := checkBackup(t, s, before); err != nil {
		t.Errorf("the older program and the backup from before: %v", err)
	}
	if err := checkBackup(t, s, after); err == nil || !strings.Contains(err.Error(), "was written by a newer raftkms (next): use that version or a later one") {
		t.Errorf("the older program and the backup from after: %v", err)
	}
	older.stop(syscall.SIGTERM)
}
