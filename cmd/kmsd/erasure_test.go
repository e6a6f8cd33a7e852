package main_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

// A key's wrapped material stands in the files of all nodes while the key
// exists; soon after its deadline it stands in none, on a cluster that has
// nothing else to do, and stays away over a restart. The deadline is short
// because the configuration says so.
func TestADeletedKeyIsErasedFromEveryNode(t *testing.T) {
	dir := t.TempDir()
	c := startCluster(t, dir, "--module", "soft", "--port", strconv.Itoa(freePort(t, 3)), "--nodes", "3")
	c.stop(syscall.SIGINT)
	for i := range c.file.Nodes {
		file, err := os.OpenFile(c.configFile(i), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.WriteString("\nkeys:\n  deletion_minimum: 2s\n  erasure_pause: 1s\n")
		if closing := file.Close(); err != nil || closing != nil {
			t.Fatal(err, closing)
		}
	}
	c = startCluster(t, dir)
	nodes := sdks(t, c)
	key := nodes[0].createKey("doomed")
	made := nodes[1].dataKey(key, "")
	blob := blobOf(t, c, key)
	if found := filesWith(t, c, blob); len(found) != 3 {
		t.Fatalf("the wrapped material stands in %v before: this test tests nothing", found)
	}
	if _, err := nodes[2].kms.DeleteKey(&model.DeleteKeyRequest{Body: &model.ScheduleKeyDeletionRequestBody{KeyId: key, PendingDays: "0"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].tryOpen(key, made.cipher, "", len(made.plain)/2); err == nil {
		t.Error("a key pending deletion opens")
	}
	await(t, "the key to be erased", func() bool {
		reply, err := c.admin(1).VerifyErasure(context.Background(), key)
		return err == nil && reply.Erased && len(reply.Nodes) == 3
	})
	if found := filesWith(t, c, blob); found != nil {
		t.Errorf("still in %v", found)
	}
	_, err := nodes[0].tryOpen(key, made.cipher, "", len(made.plain)/2)
	wantRefused(t, err, 404, "KMS.0207")
	if !strings.Contains(err.Error(), "deleted at") {
		t.Errorf("it does not say when: %v", err)
	}
	other := nodes[0].createKey("doomed") // the name is free, and the cluster goes on
	c.stop(syscall.SIGINT)
	c = startCluster(t, dir)
	if found := filesWith(t, c, blob); found != nil {
		t.Errorf("after a restart in %v", found)
	}
	for _, n := range sdks(t, c) {
		n.dataKey(other, "")
	}
}

// blobOf reads the wrapped material of a key's first version out of a log file:
// it is the string of 40 bytes behind the key's id in the command that made it.
func blobOf(t *testing.T, c *cluster, key string) []byte {
	t.Helper()
	head := []byte{0x0a, 0x58, 0x28} // field 10 of command.CreateKey, 40 bytes
	for _, n := range c.file.Nodes {
		text, err := os.ReadFile(filepath.Join(n.DataDir, "raft", "log.db"))
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(text, append([]byte{0x01, 0x78, 0x24}, key...)); at >= 0 {
			if from := bytes.Index(text[at:], head); from >= 0 && from < 2048 {
				return bytes.Clone(text[at+from+len(head):][:40])
			}
		}
	}
	t.Fatal("no log file holds the command that made the key")
	return nil
}

// filesWith returns the files of all nodes in which some bytes stand.
func filesWith(t *testing.T, c *cluster, wanted []byte) (found []string) {
	t.Helper()
	for _, n := range c.file.Nodes {
		err := filepath.WalkDir(n.DataDir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, wanted) {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
