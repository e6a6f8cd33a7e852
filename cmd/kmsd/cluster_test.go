package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

func TestSoftClusterWithTheSDK(t *testing.T)   { tellStory(t, "soft") }
func TestPKCS11ClusterWithTheSDK(t *testing.T) { tellStory(t, "pkcs11") }

// tellStory takes one cluster of three processes through the main job, the
// loss of its leader and a restart. The parts build on one another.
func tellStory(t *testing.T, module string) {
	dir := t.TempDir()
	port := freePort(t, 3)
	c := startCluster(t, dir, "--module", module, "--port", strconv.Itoa(port), "--nodes", "3")
	nodes := sdks(t, c)
	checkDevFile(t, c)
	checkHardening(t, c)

	key := nodes[0].createKey("story/" + module)
	made := nodes[0].dataKey(key, "")
	t.Run("keys are seen on every node", func(t *testing.T) { keysAreSeenEverywhere(t, nodes, key) })
	t.Run("data keys open on every node", func(t *testing.T) { dataKeysOpenEverywhere(t, nodes, key) })
	t.Run("own data keys", func(t *testing.T) { ownDataKeys(t, nodes, key) })
	t.Run("data", func(t *testing.T) { dataOpensEverywhere(t, nodes, key) })
	t.Run("random", func(t *testing.T) { randomDiffers(t, nodes) })
	t.Run("traces of all nodes", func(t *testing.T) { tracesOfAllNodes(t, c, nodes, key) })
	t.Run("traces are proved", func(t *testing.T) { tracesAreProved(t, c) })
	t.Run("refusals", func(t *testing.T) { refusals(t, c, nodes, key) })
	t.Run("every method of the SDK", func(t *testing.T) { everyMethod(t, c) })
	t.Run("imports end on another node", func(t *testing.T) { importsEndElsewhere(t, nodes) })
	t.Run("default master keys are made once", func(t *testing.T) { defaultKeysAreMadeOnce(t, nodes) })
	disabled := nodes[0].createKey("disabled/" + module)
	t.Run("a disabled key is refused everywhere at once", func(t *testing.T) { disabledEverywhere(t, nodes, disabled) })
	t.Run("a revoked grant serves nobody anywhere at once", func(t *testing.T) { revokedEverywhere(t, c, nodes, key) })
	t.Run("the leader is killed", func(t *testing.T) { leaderIsKilled(t, c, key) })

	before := c.file
	c.stop(syscall.SIGINT)
	for _, n := range before.Nodes {
		if err := syscall.Kill(n.PID, 0); err == nil {
			t.Errorf("%s (pid %d) outlived kmsd dev", n.ID, n.PID)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, devfile.Name)); err == nil {
		t.Error("dev.json outlived the cluster")
	}
	again := startCluster(t, dir) // what the directory holds, without being told
	t.Run("everything is there after a restart", func(t *testing.T) {
		afterRestart(t, again, before, key, disabled, made)
	})
	t.Run("imports at a node without a vote", func(t *testing.T) { importsAtAStandby(t, again) })
	kill(t, again.cmd.Process.Pid)
	for _, n := range again.file.Nodes { // no child outlives its parent
		awaitGone(t, n.PID)
	}
}

// checkDevFile wants what dev.json promises beyond its fields' names.
func checkDevFile(t *testing.T, c *cluster) {
	t.Helper()
	f := c.file
	for name, id := range map[string]string{"domain_id": f.DomainID, "project_id": f.ProjectID, "user_id": f.UserID} {
		if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 || strings.ToLower(id) != id {
			t.Errorf("%s %q is not 32 lower-case hex digits", name, id)
		}
	}
	if f.ProjectName != f.Region || f.Region == "" || len(f.AWSAccountID) != 12 || f.Password == "" || f.UserName == "" || f.DomainName == "" {
		t.Errorf("dev.json says %+v", f)
	}
	if len(f.Nodes) != 3 {
		t.Fatalf("dev.json has %d nodes", len(f.Nodes))
	}
	for _, n := range f.Nodes {
		if err := syscall.Kill(n.PID, 0); err != nil {
			t.Errorf("%s has pid %d, which is not there: %v", n.ID, n.PID, err)
		}
		if _, err := os.Stat(n.DataDir); err != nil {
			t.Error(err)
		}
	}
}

func keysAreSeenEverywhere(t *testing.T, nodes []sdk, key string) {
	want := []string{nodes[1].createKey("seen/2"), nodes[2].createKey("seen/3"), key}
	for i, n := range nodes {
		n.t = t
		d := n.describe(key)
		if *d.KeyState != "2" || *d.KeySpec != model.GetKeyDetailsKeySpecEnum().AES_256 || *d.KeyDescription != "made by a test" {
			t.Errorf("node %d describes the key as %v", i+1, d)
		}
		listed := n.list()
		for _, id := range want {
			if !slices.Contains(listed, id) {
				t.Errorf("node %d does not list %s", i+1, id)
			}
		}
	}
}

func dataKeysOpenEverywhere(t *testing.T, nodes []sdk, key string) {
	seen := make(map[string]bool)
	for _, maker := range nodes {
		maker.t = t
		for _, aad := range []string{"", "bound to this"} {
			made := maker.dataKey(key, aad)
			if seen[made.plain] || seen[made.cipher] {
				t.Error("a data key repeats")
			}
			seen[made.plain], seen[made.cipher] = true, true
			for _, opener := range nodes {
				opener.t = t
				opener.mustOpen(key, made, aad)
			}
			_, err := nodes[0].tryOpen(key, made.cipher, "other", len(made.plain)/2)
			wantRefused(t, err, 400, "KMS.2201")
		}
		hidden, err := maker.kms.CreateDatakeyWithoutPlaintext(&model.CreateDatakeyWithoutPlaintextRequest{
			Body: &model.CreateDatakeyRequestBody{KeyId: key},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[2].tryOpen(key, *hidden.CipherText, "", 32); err != nil {
			t.Error(err)
		}
	}
}

func ownDataKeys(t *testing.T, nodes []sdk, key string) {
	own := []byte("sixteen byte key")
	digest := sha256.Sum256(own)
	reply, err := nodes[0].kms.EncryptDatakey(&model.EncryptDatakeyRequest{Body: &model.EncryptDatakeyRequestBody{
		KeyId: key, PlainText: hex.EncodeToString(own) + hex.EncodeToString(digest[:]), DatakeyPlainLength: strconv.Itoa(len(own)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := nodes[1].tryOpen(key, *reply.CipherText, "", len(own))
	if err != nil || !strings.EqualFold(opened, hex.EncodeToString(own)) {
		t.Errorf("opened %q, %v", opened, err)
	}
}

func dataOpensEverywhere(t *testing.T, nodes []sdk, key string) {
	for _, text := range []string{"x", "grüße, \"welt\"\n", strings.Repeat("a", 4096)} {
		for i, encrypter := range nodes {
			cipher, err := encrypter.tryEncrypt(key, text)
			if err != nil {
				t.Fatal(err)
			}
			got, id, err := nodes[(i+1)%3].tryDecrypt(cipher)
			if err != nil || got != text || id != key {
				t.Errorf("decrypted %.20q under %s, %v", got, id, err)
			}
		}
	}
	_, err := nodes[0].tryEncrypt(key, strings.Repeat("a", 4097))
	wantRefused(t, err, 400, "KMS.0308")
}

func randomDiffers(t *testing.T, nodes []sdk) {
	seen := make(map[string]bool)
	for _, n := range nodes {
		reply, err := n.kms.CreateRandom(&model.CreateRandomRequest{Body: &model.GenRandomRequestBody{RandomDataLength: "512"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(*reply.RandomData) != 128 || seen[*reply.RandomData] {
			t.Errorf("random is %q", *reply.RandomData)
		}
		seen[*reply.RandomData] = true
	}
}

func refusals(t *testing.T, c *cluster, nodes []sdk, key string) {
	made := nodes[0].dataKey(key, "")
	_, err := nodes[1].tryDataKey("00000000-0000-4000-8000-000000000000", "")
	wantRefused(t, err, 404, "KMS.0207")
	_, err = nodes[1].tryDataKey("no id", "")
	wantRefused(t, err, 400, "KMS.0205")
	altered := []byte(made.cipher)
	altered[len(altered)-1] ^= 1 // another hex digit
	_, err = nodes[1].tryOpen(key, string(altered), "", 32)
	wantRefused(t, err, 400, "KMS.2201")
	other := nodes[0].createKey("other")
	_, err = nodes[1].tryOpen(other, made.cipher, "", 32)
	wantRefused(t, err, 400, "KMS.2201")

	good := credentialsOf(c.file)
	f := func(change func(*credentials), status int, code string) {
		t.Helper()
		wrong := good
		change(&wrong)
		_, err := newSDK(t, c.file, 2, wrong).tryDataKey(key, "")
		wantRefused(t, err, status, code)
	}
	f(func(k *credentials) { k.secretKey = "wrong" }, 401, "APIGW.0301")
	f(func(k *credentials) { k.accessKey = "WRONG" }, 401, "APIGW.0301")
	f(func(k *credentials) { k.project = strings.Repeat("0", 32) }, 403, "KMS.0321")
}

func disabledEverywhere(t *testing.T, nodes []sdk, key string) {
	made := nodes[0].dataKey(key, "")
	cipher, err := nodes[0].tryEncrypt(key, "text")
	if err != nil {
		t.Fatal(err)
	}
	for round := range 5 {
		nodes[round%3].setState(key, false)
		for _, n := range nodes {
			_, err := n.tryDataKey(key, "")
			wantRefused(t, err, 400, "KMS.0209")
			_, err = n.tryOpen(key, made.cipher, "", 32)
			wantRefused(t, err, 400, "KMS.0209")
			_, _, err = n.tryDecrypt(cipher)
			wantRefused(t, err, 400, "KMS.0209")
		}
		nodes[(round+1)%3].setState(key, true)
		for _, n := range nodes {
			n.t = t
			n.mustOpen(key, made, "")
		}
	}
	nodes[1].setState(key, false) // and so it stays
}

// leaderIsKilled kills the leader under load: no call of a client that retries
// may fail. Then the node is brought back by hand.
func leaderIsKilled(t *testing.T, c *cluster, key string) {
	l := startLoad(t, c, key, new(acknowledged))
	leader := c.leader(t, 0)
	dead := c.file.Nodes[leader]
	l.awaitCalls(t, 20)
	kill(t, dead.PID)
	l.awaitCalls(t, 50)
	await(t, "the report of the death", func() bool {
		return strings.Contains(c.out.String(), dead.ID+" (pid "+strconv.Itoa(dead.PID)+") has ended")
	})
	// The calls above need no leader: the other nodes hold leases.
	await(t, "another leader than "+dead.ID, func() bool { return c.leader(t, (leader+1)%3) != leader })

	back := start(t, "serve", "--config", c.configFile(leader))
	c.awaitReady(t, leader)
	l.awaitCalls(t, 20)
	l.stop(t)
	// The node that was away serves by itself.
	alone := newSDK(t, c.file, leader, credentialsOf(c.file))
	alone.mustOpen(key, alone.dataKey(key, ""), "")
	back.stop(syscall.SIGTERM)
}

func afterRestart(t *testing.T, c *cluster, before *devfile.File, key, disabled string, made sealed) {
	was, is := *before, *c.file
	was.Nodes, is.Nodes = nil, nil
	if was.SecretKey != is.SecretKey || was.AccessKey != is.AccessKey || was.Password != is.Password || was.ProjectID != is.ProjectID {
		t.Error("the credentials changed")
	}
	nodes := sdks(t, c)
	for i, n := range nodes {
		n.mustOpen(key, made, "")
		if *n.describe(disabled).KeyState != "3" {
			t.Errorf("node %d has forgotten that a key is disabled", i+1)
		}
		_, err := n.tryDataKey(disabled, "")
		wantRefused(t, err, 400, "KMS.0209")
	}
	// Equal state at equal index.
	first := c.status(t, 0)
	for i := range nodes[1:] {
		await(t, "equal state", func() bool {
			other := c.status(t, i+1)
			first = c.status(t, 0)
			return other.Applied == first.Applied && other.StateHash == first.StateHash
		})
	}
	// And through our own client, which knows all nodes.
	own, err := client.NewFromDevFile(filepath.Join(c.dir, devfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	cipher, err := hex.DecodeString(made.cipher)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := own.DecryptDataKey(context.Background(), key, cipher, client.DataKeyOptions{})
	if err != nil || !strings.EqualFold(hex.EncodeToString(plain), made.plain) {
		t.Errorf("our own client opened %x, %v", plain, err)
	}
}
