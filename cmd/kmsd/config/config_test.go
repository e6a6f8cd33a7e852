package config_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// write puts text into a file of a fresh directory and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kmsd.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnEmptyFileWorks(t *testing.T) {
	c, err := config.Load(write(t, ""), []string{"RAFTKMS_NODE_ID=n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		Node:            config.Node{ID: "n1", DataDir: "/var/lib/raftkms", AdminSocket: "/var/lib/raftkms/admin.sock"},
		API:             config.API{Listen: "127.0.0.1:8440", Advertise: "https://127.0.0.1:8440", MinTLS: "1.2"},
		Cluster:         config.Cluster{Listen: "127.0.0.1:8441", Advertise: "127.0.0.1:8441", Reads: "read-index"},
		Gossip:          config.Gossip{Listen: "127.0.0.1:8442", Advertise: "127.0.0.1:8442"},
		Audit:           config.Audit{Dir: "/var/lib/raftkms/audit", Sync: "always", Full: "refuse"},
		Keys:            config.Keys{DeletionMinimum: 168 * time.Hour, ErasurePause: 10 * time.Minute},
		Log:             config.Log{Level: "info", Format: "text"},
		ShutdownTimeout: 10 * time.Second,
	}
	want.Module.Kind = "soft"
	want.Module.Soft = config.Soft{
		RootsFile:      "/var/lib/raftkms/module/roots",
		PrivateKeyFile: "/var/lib/raftkms/module/private-key",
		UnlockKeyFile:  "/var/lib/raftkms/module/unlock-key",
	}
	if diff := cmp.Diff(c, want); diff != "" {
		t.Error("-got +want\n" + diff)
	}
}

func TestLayersOverrideOneAnother(t *testing.T) {
	file := write(t, `
node: {id: from-file, data_dir: /file}
api: {listen: "127.0.0.1:1", min_tls: 1.3}
module: {pkcs11: {environment: {A: file}}}
shutdown_timeout: 5s
`)
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	if err := flags.Parse([]string{"--node-data-dir=/flag", "--module-pkcs11-environment=B=flag,C=x=y"}); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"RAFTKMS_NODE_DATA_DIR=/environment", "RAFTKMS_API_LISTEN=127.0.0.1:2",
		"RAFTKMS_SHUTDOWN_TIMEOUT=7s", "RAFTKMS_AUDIT_RETENTION_SIZE=3221225472", "RAFTKMS_URL=not for kmsd", "OTHER=1",
	}
	c, err := config.Load(file, environ, flags)
	if err != nil {
		t.Fatal(err)
	}
	f := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	f("node.id", c.Node.ID, "from-file")
	f("node.data_dir", c.Node.DataDir, "/flag")
	f("node.admin_socket", c.Node.AdminSocket, "/flag/admin.sock")
	f("api.listen", c.API.Listen, "127.0.0.1:2")
	f("api.min_tls", c.API.MinTLSVersion(), uint16(tls.VersionTLS13))
	f("module.pkcs11.environment", c.Module.PKCS11.Environment, map[string]string{"B": "flag", "C": "x=y"})
	f("shutdown_timeout", c.ShutdownTimeout, 7*time.Second)
	f("audit.retention_size", c.Audit.RetentionSize, int64(3<<30))
}

func TestTheEffectiveConfigurationReadsBackAsItself(t *testing.T) {
	c, err := config.Load("", []string{"RAFTKMS_NODE_ID=n1", "RAFTKMS_MODULE_PKCS11_ENVIRONMENT=A=1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again := new(config.Config)
	if err := config.Parse(text, again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again, c); diff != "" {
		t.Error("-got +want\n" + diff)
	}
}

func TestRefusals(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := config.Load(write(t, text), []string{"RAFTKMS_NODE_ID=n1"}, nil)
		if err == nil {
			t.Errorf("%q is accepted", text)
			return
		}
		if got := err.Error(); !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%q: %q does not say %q in one line", text, got, want)
		}
	}
	f("nodes: {}", "line 1: unknown key nodes")
	f("api:\n  listen: 127.0.0.1:1\n  listen: x\n", "line 3: mapping key \"listen\" already defined")
	f("api: 5", "line 1: cannot unmarshal")
	f("api: {listen: a, listen: b}", "already defined")
	f("a: [", "line 1")
	f("{}\n---\n{}", "more than one document")
	f("shutdown_timeout: soon", "soon")
	f("shutdown_timeout: 1ms", "shutdown_timeout 1ms must lie between")
	f("drain_delay: 1h", "drain_delay 1h0m0s must lie between")
	f("cluster: {reads: stale}", "cluster.reads")
	f("audit: {sync: sometimes}", "audit.sync")
	f("audit: {full: panic}", "audit.full")
	f("audit: {sync: interval, interval: 2h}", "audit.interval")
	f("audit: {export: [{name: a, type: kafka}]}", "audit.export[0]: type \"kafka\"")
	f("audit: {export: [{name: a, type: lines, path: '-'}, {name: a, type: lines, path: '-'}]}", "audit.export[1]: name \"a\" is there twice")
	f("audit: {export: [{name: a, type: lines, path: '-', from: then}]}", "audit.export[0]: from")
	f("audit: {export: [{name: a, type: webhook, url: 'http://siem.example'}]}", "audit.export[0]: url")
	f("audit: {export: [{name: a, type: webhook, secret: s}]}", "unknown key secret")
	f("keys: {deletion_minimum: 10ms}", "keys.deletion_minimum")
	f("keys: {erasure_pause: 48h}", "keys.erasure_pause")
	f("keys: {services: [OBS]}", "keys.services")
	f("audit: {retention: 1s}", "audit.retention")
	f("audit: {retention_size: 1024}", "audit.retention_size 1024")
	f("audit: {checkpoint_pause: 2h}", "audit.checkpoint_pause 2h0m0s")
	f("audit: {refusal_alarm: -2}", "audit.refusal_alarm -2")
	f("node: {data_dir: relative}", "node.data_dir \"relative\" must be an absolute path")
	f("node: {admin_socket: /"+strings.Repeat("x", 100)+"}", "has 101 bytes")
	f("audit: {dir: a}", "audit.dir")
	f("api: {listen: nonsense}", "api.")
	f("api: {listen: '127.0.0.1:0'}", "a port from 1 to 65535")
	f("api: {listen: '127.0.0.1:70000'}", "a port from 1 to 65535")
	f("api: {listen: '0.0.0.0:8440'}", "api.advertise \"0.0.0.0:8440\" names no host")
	f("api: {advertise: 'http://host'}", "must be an https URL")
	f("api: {advertise: 'https://host/path'}", "must be an https URL")
	f("api: {advertise: 'https://user@host'}", "must be an https URL")
	f("api: {min_tls: '1.1'}", "api.min_tls")
	f("api: {proxies_trusted: [balancer]}", "api.proxies_trusted \"balancer\" must be")
	f("api: {key_file: /k}", "go together")
	f("cluster: {listen: ':8441'}", "cluster.advertise \":8441\" names no host")
	f("gossip: {listen: '[::]:8442'}", "gossip.advertise")
	f("gossip: {advertise: 'kms-1:8442'}", "gossip.advertise \"kms-1:8442\" must have an IP address")
	f("gossip: {listen: 'kms-1:8442', advertise: '192.0.2.1:8442'}", "gossip.listen \"kms-1:8442\" must have an IP address")
	f("gossip: {listen: '127.0.0.1:8440'}", "api.listen and gossip.listen are both 127.0.0.1:8440")
	f("module: {kind: hard}", "module.kind \"hard\" must be soft or pkcs11")
	f("module: {kind: pkcs11}", "module.pkcs11.library is needed")
	f("module: {kind: pkcs11, pkcs11: {library: /l, token_label: t}}", "module.pkcs11.pin_file is needed")
	f("module: {pkcs11: {pin: '1234'}}", "unknown key pin")
	f("module: {soft: {passphrase_file: terminal, unlock_key_file: /u}}", "module.soft.passphrase_file and module.soft.unlock_key_file are both given")
	f("module: {soft: {passphrase_file: 'fd:x'}}", "module.soft.passphrase_file \"fd:x\" must name an inherited file descriptor")
	f("module: {soft: {passphrase_file: 'fd:2'}}", "module.soft.passphrase_file \"fd:2\" must name")
	f("module: {soft: {passphrase: secret}}", "unknown key passphrase")
	f("module: {second: {token_label: t}}", "module.second needs module.kind pkcs11")
	f("module: {kind: pkcs11, pkcs11: {library: /l, token_label: t, pin_file: /p}, second: {library: /m}}", "module.second.token_label is needed")
	f("module: {kind: pkcs11, pkcs11: {library: /l, token_label: t, pin_file: /p}, second: {token_label: t}}", "module.second is the token \"t\" of module.pkcs11 itself")
	f("module: {kind: pkcs11, pkcs11: {library: /l, token_label: t, pin_file: /p}, second: {token_label: u, sessions: 2000}}", "module.second.sessions 2000 must lie")
	f("module: {kind: pkcs11, pkcs11: {library: /l, token_label: t, pin_file: /p, open_limit: 1h}}", "module.pkcs11.open_limit 1h0m0s must lie")
	f("log: {level: loud}", "log.level")
	f("log: {format: xml}", "log.format")
}

func TestNodeIDs(t *testing.T) {
	f := func(id string, ok bool) {
		t.Helper()
		_, err := config.Load("", []string{"RAFTKMS_NODE_ID=" + id}, nil)
		if (err == nil) != ok {
			t.Errorf("node id %q: %v", id, err)
		}
	}
	f("n", true)
	f("node-1", true)
	f(strings.Repeat("n", 64), true)
	f(strings.Repeat("n", 65), false)
	f("a.b", false)
	f("-n", false)
	f("n-", false)
	f("Node", false)
	f("a/b", false)
	f("a b", false)
}

func TestTheEnvironmentIsChecked(t *testing.T) {
	f := func(entry, want string) {
		t.Helper()
		_, err := config.Load("", []string{"RAFTKMS_NODE_ID=n1", entry}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", entry, err, want)
		}
	}
	f("RAFTKMS_API_LISTN=x", "RAFTKMS_API_LISTN is no setting of kmsd")
	f("RAFTKMS_SHUTDOWN_TIMEOUT=x", "RAFTKMS_SHUTDOWN_TIMEOUT: \"x\" is no duration")
	f("RAFTKMS_MODULE_PKCS11_ENVIRONMENT=x", "NAME=VALUE")
	f("RAFTKMS_AUDIT_RETENTION_SIZE=1G", "\"1G\" is no whole number")
}

// TestEveryFieldIsDocumented holds the promise of the help tags: a sentence
// for each field, shown as the usage of its flag.
func TestEveryFieldIsDocumented(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	count := 0
	flags.VisitAll(func(f *pflag.Flag) {
		count++
		if len(f.Usage) < 20 || !strings.HasSuffix(f.Usage, ".") {
			t.Errorf("--%s has no sentence: %q", f.Name, f.Usage)
		}
	})
	if count < 20 {
		t.Errorf("only %d fields have a flag", count)
	}
}

// TestExports: what the file says of a sink is what the server gets; secrets
// are read when they are asked for.
func TestExports(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hush\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(write(t, `
audit:
  export:
    - {name: siem, type: syslog, address: "siem.example:6514", ca_file: /ca, certificate_file: /c, key_file: /k, timeout: 3s, from: now}
    - {name: hook, type: webhook, url: "https://hook.example/x", secret_file: `+secret+`}
`), []string{"RAFTKMS_NODE_ID=n1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sinks, err := c.Audit.Sinks("")
	if err != nil {
		t.Fatal(err)
	}
	if s := sinks[0]; s.Name != "siem" || s.Address != "siem.example:6514" || s.CAFile != "/ca" || s.CertificateFile != "/c" || s.KeyFile != "/k" || s.Timeout != 3*time.Second || !s.FromNow || s.Secret != nil {
		t.Errorf("%+v", s)
	}
	if err := c.CheckSecrets(""); err == nil || !strings.Contains(err.Error(), "audit.export[1].secret_file") {
		t.Errorf("a secret that all can read: %v", err)
	}
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := sinks[1].Secret(); err != nil || string(got) != "hush" || sinks[1].Authorization != nil || sinks[1].FromNow {
		t.Errorf("%q, %v", got, err)
	}
}
