package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// stuck is what the generators of these tests repeat.
const stuck = 0x0102030405060708

// withDevices are nodes without a cluster, each with a token of SoftHSM behind a
// library of its own, and those that tell the libraries what to do.
func withDevices(t *testing.T, change func(cfg *Config), ids ...string) (*trio, []*faultylib.Device) {
	t.Helper()
	c, open, devices := tokensOf(t, ids...)
	c.open = func(id string) hsm.Module {
		module, err := open(t.Context(), id)
		must(t, err)
		return module
	}
	for _, id := range ids {
		c.add(id, change)
	}
	return c, devices
}

// tokensOf makes tokens for nodes that the caller adds, each behind a library of
// its own, and what opens them by their labels.
func tokensOf(t *testing.T, labels ...string) (c *trio, open func(ctx context.Context, label string) (hsm.Module, error), devices []*faultylib.Device) {
	t.Helper()
	const officerPIN, userPIN = "officer-1234", "user-5678"
	dir := t.TempDir()
	softHSM, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	code, err := os.ReadFile(softHSM)
	must(t, err)
	c = &trio{t: t, officerPIN: officerPIN, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test asks its own nodes on loopback
	}}}
	libraries := make(map[string]string)
	for _, label := range labels {
		environment, err := pkcs11.CreateSoftHSMToken(dir, label, []byte(officerPIN), []byte(userPIN))
		must(t, err)
		for name, value := range environment {
			t.Setenv(name, value)
		}
		own := filepath.Join(t.TempDir(), "softhsm.so") // a copy for each, or they would be one library
		must(t, os.WriteFile(own, code, 0o700))
		device, err := faultylib.New(filepath.Dir(own), own)
		must(t, err)
		t.Cleanup(func() { must(t, device.Close()) })
		libraries[label], devices = device.Path, append(devices, device)
	}
	return c, func(ctx context.Context, label string) (hsm.Module, error) {
		module, err := pkcs11.Open(ctx, pkcs11.Config{
			Library: libraries[label], TokenLabel: label, PIN: func() ([]byte, error) { return []byte(userPIN), nil },
		})
		if err != nil {
			return nil, err
		}
		return module, nil
	}, devices
}

// runAgain starts a node that has ended, until the end of the test, and waits until
// it is a member.
func runAgain(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		must(t, <-ended)
	})
	await(t, "the node again", func() bool { return s.member.Load() != nil })
	return s
}

// wantOutOfService checks what a node says of itself whose generator is sick, and
// was so many times since it was founded.
func (c *trio) wantOutOfService(node int, log *lines, times int) {
	t, s := c.t, c.nodes[node]
	t.Helper()
	await(t, "/readyz to say no", func() bool {
		response, err := c.client.Get(s.cfg.APIURL + "/readyz")
		must(t, err)
		must(t, response.Body.Close())
		return response.StatusCode == http.StatusServiceUnavailable
	})
	if err := s.member.Load().ready.now(); err == nil || !strings.Contains(err.Error(), "have the HSM examined") {
		t.Errorf("why it is not ready: %v", err)
	}
	for _, name := range []string{"kmsd_hsm_generator_healthy", "kmsd_hsm_serves", "kmsd_ready"} {
		if got := metric(t, s, name); got != "0" {
			t.Errorf("%s %s", name, got)
		}
	}
	incidents := func() (n int) {
		for _, trace := range c.allTraces()[kms.OpLoseModule.Name] {
			if trace.NodeID == s.cfg.NodeID && trace.TraceRating == string(audit.RatingIncident) {
				n++
			}
		}
		return n
	}
	await(t, "the trace", func() bool { return incidents() >= times })
	if n := strings.Count(log.String(), `level=ERROR msg="this node is out of service until it is restarted"`); n != 1 || incidents() != times {
		t.Errorf("%d errors are logged and %d incidents traced", n, incidents())
	}
}

// A node whose HSM's generator sticks makes and uses no key any more: peers
// answer for it, also what would have drawn nothing from the pool. It gives
// leadership away, says so, and stays so when the generator moves again.
func TestStuckGeneratorTakesTheNodeOutOfService(t *testing.T) {
	logs := make(map[string]*lines)
	c, devices := withDevices(t, func(cfg *Config) {
		logs[cfg.NodeID] = new(lines)
		cfg.Logger = slog.New(slog.NewTextHandler(logs[cfg.NodeID], nil))
	}, "n1", "n2")
	c.found()
	key := c.keyOf(0, `{"key_alias":"first"}`)
	status, made := c.ask(0, "create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`)
	if status != http.StatusOK {
		t.Fatal(status, made)
	}
	importing := c.keyOf(0, `{"key_alias":"imported","origin":"external"}`)
	parameters := func(when string) {
		t.Helper()
		if status, reply := c.ask(0, "get-parameters-for-import", `{"key_id":"`+importing+`","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`); status != http.StatusOK {
			t.Errorf("parameters of an import %s: %d %v", when, status, reply)
		}
	}
	parameters("before")
	if c.leader() != 0 {
		must(t, c.nodes[1].member.Load().node.TransferLeadership(t.Context()))
		await(t, "n1 to lead", func() bool { return c.leader() == 0 })
	}

	devices[0].StickGenerator(stuck)
	file := filepath.Join(t.TempDir(), traceKeyFile)
	if _, err := c.nodes[0].makeTraceKey(t.Context(), file); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a key for the traces was made beside a stuck generator: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a key for the traces that was made beside a stuck generator is kept")
	}
	c.keyOf(0, `{"key_alias":"second"}`) // which finds out
	sick := c.nodes[0].member.Load().service.Healthy()
	if !errors.Is(sick, entropy.ErrGenerator) {
		t.Fatalf("a key was made beside a stuck generator: %v", sick)
	}
	await(t, "another leader", func() bool { return c.leader() == 1 })
	devices[0].UnstickGenerator() // what moves again is not believed
	generated := devices[0].Calls(faultylib.GenerateKey)
	c.keyOf(0, `{"key_alias":"third"}`)
	parameters("after")
	if status, reply := c.ask(0, "create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`); status != http.StatusOK {
		t.Errorf("create-datakey: %d %v", status, reply)
	}
	open := `{"key_id":"` + key + `","cipher_text":"` + made["cipher_text"].(string) + `","datakey_cipher_length":"32"}`
	if status, reply := c.ask(0, "decrypt-datakey", open); status != http.StatusOK || reply["data_key"] != made["plain_text"] {
		t.Errorf("decrypt-datakey: %d %v", status, reply)
	}
	if status, reply := c.ask(0, "gen-random", `{"random_data_length":"512"}`); status != http.StatusOK {
		t.Errorf("gen-random: %d %v", status, reply)
	}
	if now := devices[0].Calls(faultylib.GenerateKey); now != generated {
		t.Errorf("the sick HSM made %d keys", now-generated)
	}
	c.wantOutOfService(0, logs["n1"], 1)
	if metric(t, c.nodes[1], "kmsd_hsm_generator_healthy") != "1" {
		t.Error("the other node's generator is called sick")
	}
	if r := c.nodes[0].examineModule(t.Context()); r.Carries() {
		t.Error("hsm doctor of the running node finds nothing")
	}
}

// Nobody's root keys come from a stuck generator, nor do they come to a node
// that has one; and one that sticks is found out as the node starts.
func TestStuckGeneratorIsFoundOutAtTheStart(t *testing.T) {
	logs := make(map[string]*lines)
	c, devices := withDevices(t, func(cfg *Config) {
		logs[cfg.NodeID] = new(lines)
		cfg.Logger = slog.New(slog.NewTextHandler(logs[cfg.NodeID], nil))
	}, "n1", "n2")
	founder, joiner := c.nodes[0], c.nodes[1]
	for _, device := range devices {
		device.StickGenerator(stuck)
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, entropy.ErrGenerator) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	generated := devices[0].Calls(faultylib.GenerateKey) // by the probe of the device
	var err error
	init := wire.InitRequest{Region: "r-1", DomainName: "d", UserName: "u"}
	_, err = founder.found(t.Context(), init)
	refused("founding", err)
	if founder.foundingInterrupted() || devices[0].Calls(faultylib.GenerateKey) != generated {
		t.Error("something was made all the same")
	}
	devices[0].UnstickGenerator()
	c.founded, err = founder.found(t.Context(), init)
	must(t, err)
	token, err := founder.createJoinToken(t.Context(), wire.JoinTokenRequest{})
	must(t, err)
	refused("joining", joiner.join(t.Context(), token.Token))
	await(t, "the founder to be ready", func() bool { return founder.member.Load().ready.now() == nil })
	refused("a rotation", func() error {
		devices[0].StickGenerator(stuck)
		_, err := founder.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: c.officerPIN})
		return err
	}())
	if next := founder.machine.State().Cluster().RootNext; next != 0 {
		t.Errorf("the rotation to %d has begun", next)
	}

	c.wantOutOfService(0, logs["n1"], 1)
	must(t, c.ends[0]())
	logs["n1"] = new(lines)
	cfg := founder.cfg
	cfg.Logger = slog.New(slog.NewTextHandler(logs["n1"], nil))
	again := runAgain(t, cfg)
	c.nodes = []*Server{again}
	await(t, "a leader", func() bool { return c.leader() == 0 })
	status, reply := c.ask(0, "create-key", `{"key_alias":"first"}`)
	if status != http.StatusServiceUnavailable || reply["error"].(map[string]any)["error_code"] != "KMS.0104" {
		t.Errorf("create-key: %d %v", status, reply)
	}
	c.wantOutOfService(0, logs["n1"], 2)
}

// A node with two HSMs goes on when the generator of one sticks, and is out of
// service when that of the other does, too; started so it is a member, and no more.
func TestStuckGeneratorsOfANodeWithTwoDevices(t *testing.T) {
	c, open, devices := tokensOf(t, "n1-1", "n1-2", "n2")
	device := func(name, label string) failover.Device {
		return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) { return open(ctx, label) }}
	}
	c.open = func(id string) hsm.Module {
		if id == "n2" {
			module, err := open(t.Context(), id)
			must(t, err)
			return module
		}
		pair, err := failover.Open(t.Context(), failover.Config{
			Pause: 50 * time.Millisecond, Devices: [2]failover.Device{device("first", "n1-1"), device("second", "n1-2")},
		})
		must(t, err)
		return pair
	}
	log := new(lines)
	c.add("n1", func(cfg *Config) {
		cfg.Module, cfg.Logger = cfg.Module.(*breakable).Module, slog.New(slog.NewTextHandler(log, nil))
	})
	c.add("n2")
	c.found()
	both := c.nodes[0]
	_, err := both.copyRoots(t.Context(), wire.CopyRootsRequest{OfficerPIN: c.officerPIN})
	must(t, err)
	if c.leader() != 0 {
		must(t, c.nodes[1].member.Load().node.TransferLeadership(t.Context()))
		await(t, "n1 to lead", func() bool { return c.leader() == 0 })
	}
	key := c.keyOf(0, `{"key_alias":"first"}`)

	devices[0].StickGenerator(stuck)
	c.keyOf(0, `{"key_alias":"second"}`) // which finds out
	modules := both.modules()
	if modules[0].Serves || !strings.Contains(modules[0].Problem, "have the HSM examined") || !modules[1].Serves {
		t.Errorf("after the first has failed: %+v", modules)
	}
	for name, want := range map[string]string{
		"kmsd_hsm_generator_healthy": "1", "kmsd_hsm_serves": "1", "kmsd_ready": "1", `kmsd_hsm_member_serves{member="first"}`: "0",
		`kmsd_hsm_member_generator_healthy{member="first"}`: "0", `kmsd_hsm_member_generator_healthy{member="second"}`: "1",
	} {
		if got := metric(t, both, name); got != want {
			t.Errorf("after the first has failed: %s %s", name, got)
		}
	}
	if c.leader() != 0 {
		t.Error("a node with one healthy device has given leadership away")
	}
	if r := both.examineModule(t.Context()); !r.Carries() || r.Devices[0].Serves || r.Devices[0].Problem == "" {
		t.Errorf("hsm doctor: %+v %v", r.Devices, r.Problems)
	}

	devices[1].StickGenerator(stuck) // which the pair finds out by itself
	await(t, "another leader", func() bool { return c.leader() == 1 })
	for _, device := range devices[:2] {
		device.UnstickGenerator()
	}
	if sick := both.member.Load().service.Healthy(); !errors.Is(sick, entropy.ErrGenerator) {
		t.Errorf("the service says %v", sick)
	}
	works := func(when string) {
		t.Helper()
		if status, reply := c.ask(0, "create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`); status != http.StatusOK {
			t.Errorf("create-datakey %s, which the other node answers: %d %v", when, status, reply)
		}
	}
	works("afterwards")
	c.wantOutOfService(0, log, 1)

	for _, device := range devices[:2] {
		device.StickGenerator(stuck)
	}
	must(t, c.ends[0]())
	must(t, both.cfg.Module.Close())
	log = new(lines)
	cfg := both.cfg
	cfg.Module, cfg.Logger = c.open("n1"), slog.New(slog.NewTextHandler(log, nil))
	t.Cleanup(func() { must(t, cfg.Module.Close()) })
	again := runAgain(t, cfg)
	c.nodes[0] = again
	await(t, "the cluster", func() bool { return c.leader() == 1 })
	await(t, "the node to follow", func() bool {
		return again.machine.State().Applied() >= c.nodes[1].machine.State().Applied()
	})
	works("after the start")
	c.wantOutOfService(0, log, 2)
}
