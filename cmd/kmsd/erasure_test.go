package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client/wrapping"
	"github.com/raftkms/raftkms/cluster/storage"
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
	discarded := discardImports(t, c, nodes)
	other := nodes[0].createKey("doomed") // the name is free, and the cluster goes on
	c.stop(syscall.SIGINT)
	c = startCluster(t, dir)
	if found := filesWith(t, c, blob); found != nil {
		t.Errorf("after a restart in %v", found)
	}
	for what, blob := range discarded {
		if found := filesWith(t, c, blob); found != nil {
			t.Errorf("after a restart %s in %v", what, found)
		}
	}
	for _, n := range sdks(t, c) {
		n.dataKey(other, "")
	}
}

// blobOf reads the wrapped material of a key's first version out of a log file:
// it is the string of 40 bytes behind the key's id in the command that made it.
func blobOf(t *testing.T, c *cluster, key string) []byte {
	t.Helper()
	// Fields 1 and 10 of command.CreateKey.
	return fromLog(t, c, append([]byte{0x01, 0x78, 0x24}, key...), []byte{0x0a, 0x58, 0x28}, 40)
}

// fromLog reads the first so many bytes behind a head that follows a beginning
// out of a log file.
func fromLog(t *testing.T, c *cluster, beginning, head []byte, size int) []byte {
	t.Helper()
	for _, n := range c.file.Nodes {
		text, err := os.ReadFile(filepath.Join(n.DataDir, "raft", "log.db"))
		if err != nil {
			t.Fatal(err)
		}
		for at := bytes.Index(text, beginning); at >= 0; {
			if from := bytes.Index(text[at:], head); from >= 0 && from < 2048 {
				return bytes.Clone(text[at+from+len(head):][:size])
			}
			next := bytes.Index(text[at+1:], beginning)
			if at += next + 1; next < 0 {
				break
			}
		}
	}
	t.Fatal("no log file holds the command")
	return nil
}

// discardImports has a key that stays lose imported material by its expiry, and
// wrapping pairs: one by ten failures, one since there are too many. All of it
// leaves the files of every node. It returns what was in them.
func discardImports(t *testing.T, c *cluster, nodes []sdk) map[string][]byte {
	t.Helper()
	external, spec := model.GetCreateKeyRequestBodyOriginEnum().EXTERNAL, model.GetCreateKeyRequestBodyKeySpecEnum().AES_256
	made, err := nodes[1].kms.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "imported", KeySpec: &spec, Origin: &external}})
	if err != nil {
		t.Fatal(err)
	}
	key := *made.KeyInfo.KeyId
	parameters := func(node int) (token string, public []byte) {
		t.Helper()
		p, err := nodes[node].kms.CreateParametersForImport(&model.CreateParametersForImportRequest{Body: &model.GetParametersForImportRequestBody{
			KeyId: key, WrappingAlgorithm: model.GetGetParametersForImportRequestBodyWrappingAlgorithmEnum().RSAES_OAEP_SHA_256,
		}})
		if err != nil {
			t.Fatal(err)
		}
		public, _ = base64.StdEncoding.DecodeString(*p.PublicKey)
		return *p.ImportToken, public
	}
	bring := func(node int, token string, block []byte, expires int64) error {
		_, err := nodes[node].kms.ImportKeyMaterial(&model.ImportKeyMaterialRequest{Body: &model.ImportKeyMaterialRequestBody{
			KeyId: key, ImportToken: token, EncryptedKeyMaterial: base64.StdEncoding.EncodeToString(block), ExpirationTime: &expires,
		}})
		return err
	}
	later := time.Now().Unix() + 3600
	failing, _ := parameters(0)
	discarded := map[string][]byte{"the first pair": pairInLog(t, c, key)}
	for i := range 10 {
		wantRefused(t, bring(i%3, failing, make([]byte, 256), later), 400, "KMS.0311")
	}
	wantRefused(t, bring(1, failing, make([]byte, 256), later), 400, "KMS.2605")
	for i := range 4 {
		parameters(i % 3)
	}
	token, public := parameters(2)
	wrapped, err := wrapping.Secret(wrapping.OAEPSHA256, public, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if err := bring(0, token, wrapped.Material, time.Now().Unix()+3); err != nil {
		t.Fatal(err)
	}
	// Fields 2 and, of the version, 3 of command.ImportMaterial.
	discarded["the material"] = fromLog(t, c, append([]byte{0x02, 0x78, 0x24}, key...), []byte{0x03, 0x58, 0x28}, 40)
	await(t, "the expired material and the pair to be erased", func() bool {
		reply, err := c.admin(2).VerifyErasure(context.Background(), key)
		return err == nil && reply.Erased && reply.Live && reply.Blobs == 3 && len(reply.Nodes) == 3
	})
	for what, blob := range discarded {
		if found := filesWith(t, c, blob); found != nil {
			t.Errorf("%s is still in %v", what, found)
		}
	}
	if state := *nodes[0].describe(key).KeyState; state != "5" {
		t.Errorf("the key without material is in the state %s", state)
	}
	return discarded
}

// pairInLog reads the wrapped private half of a key's newest wrapping pair out
// of a log file: field 6 of command.OpenImport.
func pairInLog(t *testing.T, c *cluster, key string) []byte {
	t.Helper()
	return fromLog(t, c, append([]byte{0x02, 0x78, 0x24}, key...), []byte{0x06, 0x59}, 600)[2:]
}

// filesWith returns the files of all nodes in which some bytes stand.
func filesWith(t *testing.T, c *cluster, wanted []byte) (found []string) {
	t.Helper()
	var dirs []string
	for _, n := range c.file.Nodes {
		dirs = append(dirs, n.DataDir)
	}
	err := storage.EachFile(t.Context(), func(path string, f *os.File) error {
		text, err := io.ReadAll(f)
		if bytes.Contains(text, wanted) {
			found = append(found, path)
		}
		return err
	}, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
