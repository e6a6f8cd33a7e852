package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
	"github.com/raftkms/raftkms/server/wire"
)

// breakable is a module that a test takes away and gives back.
type breakable struct {
	hsm.Module
	mu     sync.Mutex
	outage error
	since  time.Time
	over   chan struct{}
	seals  atomic.Int64 // how often root-seal was asked for
}

func (b *breakable) set(outage error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.over)
	b.outage, b.since, b.over = outage, time.Now(), make(chan struct{})
}

func (b *breakable) Health() hsm.Health {
	b.mu.Lock()
	defer b.mu.Unlock()
	return hsm.Health{Outage: b.outage, Since: b.since}
}

func (b *breakable) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over
}

// Under is breakable as well.
func (b *breakable) Under(generation hsm.RootGeneration) hsm.Module {
	return under{breakable: b, module: b.Module.Under(generation)}
}

type under struct {
	*breakable
	module hsm.Module
}

func (u under) MAC(ctx context.Context, message []byte) ([]byte, error) {
	if err := u.Health().Outage; err != nil {
		return nil, err
	}
	return u.module.MAC(ctx, message)
}

func (u under) Seal(ctx context.Context) (hsm.Key, error) {
	u.seals.Add(1)
	if err := u.Health().Outage; err != nil {
		return nil, err
	}
	return u.module.Seal(ctx)
}

func (u under) Generate(ctx context.Context, l hsm.Level, s hsm.Spec) (hsm.Wrapped, error) {
	if err := u.Health().Outage; err != nil {
		return hsm.Wrapped{}, err
	}
	return u.module.Generate(ctx, l, s)
}

func (u under) Import(ctx context.Context, l hsm.Level, s hsm.Spec, material []byte) (hsm.Wrapped, error) {
	if err := u.Health().Outage; err != nil {
		return hsm.Wrapped{}, err
	}
	return u.module.Import(ctx, l, s, material)
}

func (u under) ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	return u.module.ExportRoots(ctx, publicKey, officerPIN)
}

func (b *breakable) MAC(ctx context.Context, message []byte) ([]byte, error) {
	if err := b.Health().Outage; err != nil {
		return nil, err
	}
	return b.Module.MAC(ctx, message)
}

func (b *breakable) Seal(ctx context.Context) (hsm.Key, error) {
	b.seals.Add(1)
	if err := b.Health().Outage; err != nil {
		return nil, err
	}
	return b.Module.Seal(ctx)
}

func (b *breakable) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	if err := b.Health().Outage; err != nil {
		return nil, err
	}
	k, err := b.Module.Load(ctx, w)
	if blocks, is := k.(hsm.Key); is {
		return breakableKey{blocks, b}, err
	}
	return k, err
}

func (b *breakable) Generate(ctx context.Context, l hsm.Level, s hsm.Spec) (hsm.Wrapped, error) {
	if err := b.Health().Outage; err != nil {
		return hsm.Wrapped{}, err
	}
	return b.Module.Generate(ctx, l, s)
}

func (b *breakable) Random(ctx context.Context, p []byte) error {
	if err := b.Health().Outage; err != nil {
		return err
	}
	return b.Module.Random(ctx, p)
}

func (b *breakable) Check(ctx context.Context) error {
	if err := b.Health().Outage; err != nil {
		return err
	}
	return b.Module.Check(ctx)
}

type breakableKey struct {
	hsm.Key
	b *breakable
}

func (k breakableKey) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	if err := k.b.Health().Outage; err != nil {
		return err
	}
	return k.Key.EncryptBlocks(ctx, dst, src)
}

// trio is a cluster of three nodes in this process.
type trio struct {
	t       *testing.T
	nodes   []*Server
	modules []*breakable
	founded *wire.InitReply
	client  *http.Client
	removed string // id of a node that is no member any more, and ends because of it

	open       func(id string) hsm.Module // of a node; nil: the embedded module
	officerPIN string                     // of what it opens
	ends       []func() error             // has a node end, and waits for that
}

func newTrio(t *testing.T, change ...func(cfg *Config)) *trio {
	t.Helper()
	c := &trio{t: t, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test asks its own nodes on loopback
	}}}
	for i := range 3 {
		c.add(fmt.Sprintf("n%d", i+1), change...)
	}
	c.found()
	return c
}

// found makes one cluster of the nodes, which all vote and are ready.
func (c *trio) found() {
	t := c.t
	t.Helper()
	var err error
	c.founded, err = c.nodes[0].found(t.Context(), wire.InitRequest{Region: "r-1", DomainName: "d", UserName: "u"})
	must(t, err)
	for _, s := range c.nodes[1:] {
		c.admit(s)
	}
	await(t, "voters that are ready", func() bool {
		members, err := c.nodes[0].member.Load().node.Members(t.Context())
		if err != nil || len(members) != len(c.nodes) {
			return false
		}
		for i, m := range members {
			if !m.Voter || c.nodes[i].member.Load().ready.now() != nil {
				return false
			}
		}
		return true
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// admit has a node join and gives it the root keys.
func (c *trio) admit(s *Server) {
	c.t.Helper()
	token, err := c.nodes[0].createJoinToken(c.t.Context(), wire.JoinTokenRequest{})
	must(c.t, err)
	must(c.t, s.join(c.t.Context(), token.Token))
	m := s.member.Load()
	await(c.t, "the joiner's fingerprint", func() bool { return m.roots.fingerprint() != "" })
	must(c.t, c.nodes[0].approveRoots(c.t.Context(), "r", wire.ApproveRootsRequest{NodeID: s.cfg.NodeID, Fingerprint: m.roots.fingerprint(), OfficerPIN: c.officerPIN}))
}

// add starts a node that belongs to no cluster yet.
func (c *trio) add(id string, change ...func(cfg *Config)) {
	c.t.Helper()
	dir := c.t.TempDir()
	open := c.open
	if open == nil {
		open = func(string) hsm.Module {
			module, err := soft.Open(c.t.Context(), soft.Config{
				RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
			})
			must(c.t, err)
			return module
		}
	}
	module := open(id)
	b := &breakable{Module: module, over: make(chan struct{})}
	cfg := Config{
		NodeID: id, DataDir: filepath.Join(dir, "data"), AdminSocket: filepath.Join(dir, "s"), Version: "test", Module: b,
		APIListen: freeAddress(c.t), ClusterListen: freeAddress(c.t), GossipListen: freeAddress(c.t), ShutdownTimeout: 5 * time.Second,
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(c.t.Context(), cfg)
	must(c.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end := sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	c.t.Cleanup(func() {
		if err := end(); err != nil && id != c.removed {
			c.t.Errorf("node %s ended with: %v", id, err)
		}
		must(c.t, module.Close())
	})
	awaitAdmin(c.t, s)
	c.nodes, c.modules, c.ends = append(c.nodes, s), append(c.modules, b), append(c.ends, end)
}

// ask has a node do an operation and returns the status and the reply.
func (c *trio) ask(node int, operation, body string) (int, map[string]any) {
	c.t.Helper()
	return c.askAs(c.founded.AccessKey, c.founded.SecretKey, node, operation, body)
}

func (c *trio) askAs(accessKey, secretKey string, node int, operation, body string) (int, map[string]any) {
	c.t.Helper()
	return c.send(accessKey, secretKey, c.nodes[node].cfg.APIURL, operation, body)
}

func (c *trio) askAt(url, operation, body string) (int, map[string]any) {
	c.t.Helper()
	return c.send(c.founded.AccessKey, c.founded.SecretKey, url, operation, body)
}

func (c *trio) send(accessKey, secretKey, url, operation, body string) (int, map[string]any) {
	c.t.Helper()
	client := signedClient{t: c.t, client: c.client, endpoint: url, access: accessKey, secret: secretKey, projectURL: c.founded.ProjectID}
	response, raw := client.send("POST", "/v1.0/PROJECT/kms/"+operation, "", body)
	reply := make(map[string]any)
	must(c.t, json.Unmarshal(raw, &reply))
	if response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
		c.t.Error("a 503 without Retry-After")
	}
	return response.StatusCode, reply
}

// A node whose module is gone answers by way of a peer, also callers whose
// secret key it has never opened; it gives leadership away, says no where a
// peer does, and with no module anywhere 503; and recovers by itself.
// A member that was not given the root keys is not believed about who asks:
// it could name any user.
func TestOnlyTrustedMembersForward(t *testing.T) {
	c := newTrio(t)
	s := c.nodes[0]
	m := s.member.Load()
	for _, peer := range []string{"stranger", ""} {
		if _, err := s.answerForwarded(context.Background(), m, peer, []byte{0xa0}); err == nil || !strings.Contains(err.Error(), "not given the root keys") {
			t.Errorf("%q forwards: %v", peer, err)
		}
		if s.trusted(peer) {
			t.Errorf("%q is trusted", peer)
		}
	}
	if !s.trusted(s.cfg.NodeID) {
		t.Error("a node with the root keys is not trusted")
	}
}

func TestModuleOutage(t *testing.T) {
	c := newTrio(t)
	status, reply := c.ask(0, "create-key", `{"key_alias":"first"}`)
	if status != 200 {
		t.Fatal(status, reply)
	}
	key := reply["key_info"].(map[string]any)["key_id"].(string)
	if status, reply = c.ask(0, "create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`); status != 200 {
		t.Fatal(status, reply)
	}
	cipher := reply["cipher_text"].(string)
	open := `{"key_id":"` + key + `","cipher_text":"` + cipher + `","datakey_cipher_length":"32"}`

	gone := fmt.Errorf("%w: unplugged by a test", hsm.ErrUnavailable)
	leader := 0
	for i, s := range c.nodes {
		if s.member.Load().node.IsLeader() {
			leader = i
		}
	}
	c.modules[leader].set(gone)
	await(t, "another leader", func() bool {
		id, known := c.nodes[leader].member.Load().node.Leader()
		return known && id != c.nodes[leader].cfg.NodeID
	})
	for range 20 {
		status, again := c.ask(leader, "decrypt-datakey", open)
		if status != 200 || again["data_key"] != reply["plain_text"] {
			t.Fatalf("decrypt-datakey on a node without a module: %d %v", status, again)
		}
	}
	if status, reply := c.ask(leader, "create-key", `{"key_alias":"second"}`); status != 200 {
		t.Errorf("create-key on a node without a module: %d %v", status, reply)
	}
	if status, reply := c.ask(leader, "create-key", `{"key_alias":"second"}`); status != 400 || reply["error"].(map[string]any)["error_code"] != "KMS.1104" {
		t.Errorf("a refusal by way of a peer: %d %v", status, reply)
	}
	if err := c.nodes[leader].member.Load().ready.now(); err != nil {
		t.Errorf("a node that a peer helps is not ready: %v", err)
	}
	// Another node's module goes, too: it has never opened this secret key.
	other := (leader + 1) % 3
	c.modules[other].set(gone)
	if status, reply := c.ask(other, "decrypt-datakey", open); status != 200 {
		t.Errorf("an access key that was never opened here: %d %v", status, reply)
	}
	if status, _ := c.askAs(c.founded.AccessKey, "wrong", other, "decrypt-datakey", open); status != 401 {
		t.Errorf("a wrong secret key by way of a peer: %d", status)
	}
	// A revocation counts there, too.
	if status, reply := c.ask(other, "disable-key", `{"key_id":"`+key+`"}`); status != 200 {
		t.Errorf("disable-key: %d %v", status, reply)
	}
	if status, reply := c.ask(leader, "decrypt-datakey", open); status != 400 || reply["error"].(map[string]any)["error_code"] != "KMS.0209" {
		t.Errorf("a disabled key by way of a peer: %d %v", status, reply)
	}
	c.modules[(leader+2)%3].set(gone)
	if status, reply := c.ask(leader, "create-key", `{"key_alias":"third"}`); status != 503 {
		t.Errorf("without any module: %d %v", status, reply)
	}
	await(t, "a node that is not ready", func() bool { return c.nodes[leader].member.Load().ready.now() != nil })
	for _, m := range c.modules {
		m.set(nil)
	}
	await(t, "all to be ready", func() bool {
		for _, s := range c.nodes {
			if s.member.Load().ready.now() != nil {
				return false
			}
		}
		return true
	})
	if status, reply := c.ask(leader, "gen-random", `{"random_data_length":"512"}`); status != 200 {
		t.Errorf("when all modules are back: %d %v", status, reply)
	}
}
