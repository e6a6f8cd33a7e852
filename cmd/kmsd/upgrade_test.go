package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
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
	token := joinToken(t, c)
	status, err := c.admin(0).RaiseLevel(t.Context(), 0)
	if err != nil || status.Level != 2 || len(status.Nodes) != count {
		t.Fatalf("raising the level: %+v, %v", status, err)
	}
	written()
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
