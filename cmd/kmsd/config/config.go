// Package config is the configuration of one kmsd node: a YAML file, the
// environment over it, command-line flags over that.
//
// What it promises: a key that it does not know is an error with its line; no
// value is changed silently; every refusal is one sentence that names the
// field. An empty file is a working configuration of a node that can be
// reached from its own machine only.
//
// What it never does: hold a secret. PINs, tokens and private keys are named by
// file (or systemd credential) and read by [ReadSecret] when they are needed.
package config

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/raftkms/raftkms/server/audit/export"
)

// Config is one node's configuration. The help tag of a field is its
// documentation: it is shown by kmsd serve --help, and says what absence means.
type Config struct {
	Node            Node          `yaml:"node,omitempty"`
	API             API           `yaml:"api,omitempty"`
	Cluster         Cluster       `yaml:"cluster,omitempty"`
	Gossip          Gossip        `yaml:"gossip,omitempty"`
	Module          Module        `yaml:"module,omitempty"`
	Audit           Audit         `yaml:"audit,omitempty"`
	Keys            Keys          `yaml:"keys,omitempty"`
	Limits          Limits        `yaml:"limits,omitempty"`
	Log             Log           `yaml:"log,omitempty"`
	DrainDelay      time.Duration `yaml:"drain_delay,omitempty" help:"How long a stopping node answers no on /readyz before it closes connections, so that balancers look elsewhere, e.g. 5s; not at all when absent."`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout,omitempty" help:"How long a stopping node may take to drain and to hand over leadership, e.g. 10s; 10s when absent. One that is still there 5s later, since a call hangs in its HSM, is cut off."`
}

// Node says who the node is and where its state lives.
type Node struct {
	ID          string `yaml:"id,omitempty" help:"Name of the node, unique in the cluster and never changed: 1 to 64 lower-case letters, digits and inner hyphens; the host name up to its first dot when absent."`
	DataDir     string `yaml:"data_dir,omitempty" help:"Directory of the node's state, made when missing; /var/lib/raftkms when absent."`
	AdminSocket string `yaml:"admin_socket,omitempty" help:"Unix socket of the local operator (kmsctl), open to the owner of the process alone; admin.sock in the data directory when absent."`
}

// API is the port that applications use.
type API struct {
	Listen          string   `yaml:"listen,omitempty" help:"Address and port of the API; 127.0.0.1:8440 when absent."`
	Advertise       string   `yaml:"advertise,omitempty" help:"The https URL by which clients and other nodes reach this node's API; built from the listen address when absent."`
	CatalogURL      string   `yaml:"catalog_url,omitempty" help:"The https URL that the identity service's catalog gives to clients: the balancer's, without v1 in the host's name; the advertised address when absent."`
	CertificateFile string   `yaml:"certificate_file,omitempty" help:"PEM file of the API's certificate chain, taken anew within seconds when it and its key are replaced; a certificate of the cluster's own CA when absent."`
	KeyFile         string   `yaml:"key_file,omitempty" help:"PEM file of the API certificate's private key, or credential:NAME; goes with certificate_file."`
	ProxiesTrusted  []string `yaml:"proxies_trusted,omitempty" help:"Addresses of balancers (CIDR, or an address alone) that name the client in a PROXY protocol header (version 1 or 2) and must send it; when absent, no header is read."`
	MinTLS          string   `yaml:"min_tls,omitempty" help:"Oldest TLS version that is accepted: 1.2 or 1.3; 1.2 when absent."`
}

// Cluster is the port over which nodes replicate and forward.
type Cluster struct {
	Listen        string        `yaml:"listen,omitempty" help:"Address and port of the cluster port (Raft and forwarding, mutual TLS); 127.0.0.1:8441 when absent."`
	Advertise     string        `yaml:"advertise,omitempty" help:"Host and port by which other nodes reach the cluster port; the listen address when absent."`
	JoinTokenFile string        `yaml:"join_token_file,omitempty" help:"File with a one-time join token, or credential:NAME; read only while the node belongs to no cluster. When absent the node waits for kmsctl."`
	Standby       bool          `yaml:"standby,omitempty" help:"Whether a node that joins stays without a vote, to serve without counting in majorities; kmsctl cluster promote and demote change it later; false when absent."`
	DeadAfter     time.Duration `yaml:"dead_after,omitempty" help:"How long a voter must have been silent before its vote is taken, which happens only where the cluster then bears the loss of one node more: after a replacement has joined. It gets a vote again when it is back. 0 stands for 10m, a negative one for never."`
	Reads         string        `yaml:"reads,omitempty" help:"How reads prove that they are current: read-index (a round of heartbeats) or log-mark (an entry in the log, slower; to compare with); read-index when absent."`
}

// Gossip is the port over which nodes find one another.
type Gossip struct {
	Listen    string `yaml:"listen,omitempty" help:"IP address and port of gossip (TCP and UDP, encrypted); 127.0.0.1:8442 when absent."`
	Advertise string `yaml:"advertise,omitempty" help:"IP address and port by which other nodes reach gossip; the listen address when absent."`
}

// Module chooses the HSM.
type Module struct {
	Kind       string `yaml:"kind,omitempty" help:"The node's HSM: soft (embedded) or pkcs11; every node of a cluster has the same; soft when absent."`
	Soft       Soft   `yaml:"soft,omitempty"`
	PKCS11     PKCS11 `yaml:"pkcs11,omitempty"`
	Second     Second `yaml:"second,omitempty"`
	LoadedKeys int    `yaml:"loaded_keys,omitempty" help:"How many key versions are kept loaded; fewer than the objects that a device has room for; 4096 when absent."`
}

// Where a passphrase comes from, beside files and credentials.
const (
	// FromTerminal asks whoever starts the process.
	FromTerminal = "terminal"
	// DescriptorPrefix stands before the number of an inherited file descriptor.
	DescriptorPrefix = "fd:"
)

// Soft names the three places of the embedded module. They protect the root
// keys only as far as they are kept on separate media.
type Soft struct {
	RootsFile      string `yaml:"roots_file,omitempty" help:"File of the root keys, encrypted to the private key; module/roots in the data directory when absent."`
	PrivateKeyFile string `yaml:"private_key_file,omitempty" help:"File of that private key, encrypted under the unlock key; module/private-key in the data directory when absent."`
	UnlockKeyFile  string `yaml:"unlock_key_file,omitempty" help:"File of the unlock key, or credential:NAME; made when missing. Keep it on other media than the other two; module/unlock-key in the data directory when absent."`
	PassphraseFile string `yaml:"passphrase_file,omitempty" help:"Where a passphrase comes from that stands in for an unlock key file: a file, credential:NAME, fd:N (the first line of an inherited file descriptor), or terminal (asked for at every start; ./terminal is a file). No passphrase when absent."`
}

// PassphraseIsFile says whether the passphrase lies in a file or a credential.
func (s Soft) PassphraseIsFile() bool {
	return s.PassphraseFile != FromTerminal && !strings.HasPrefix(s.PassphraseFile, DescriptorPrefix)
}

// PKCS11 names a token and its library.
type PKCS11 struct {
	Library     string            `yaml:"library,omitempty" help:"Path of the vendor's PKCS #11 library; needed for module pkcs11."`
	TokenLabel  string            `yaml:"token_label,omitempty" help:"Label of the token; needed for module pkcs11."`
	Serial      string            `yaml:"serial,omitempty" help:"Serial number of the token, where several have its label."`
	PINFile     string            `yaml:"pin_file,omitempty" help:"File with the token's user PIN, or credential:NAME; needed for module pkcs11."`
	Sessions    int               `yaml:"sessions,omitempty" help:"How many calls may be in the device at once; five more sessions are held. More help where a call takes milliseconds and many keys are in use, if the device serves as many at once. Twice the processors, at least 4, when absent."`
	CallLimit   time.Duration     `yaml:"call_limit,omitempty" help:"How long a call may be in the device before the device counts as gone, and four times as long as nothing at all may come out of it meanwhile; a call that is still there after six times as long ends the process, since nothing else frees it. 10s when absent."`
	OpenLimit   time.Duration     `yaml:"open_limit,omitempty" help:"How long opening the token may take, from the first call of the library: a node whose HSM has not answered then ends and says so, and one with two HSMs starts with the other. 30s when absent."`
	Environment map[string]string `yaml:"environment,omitempty" help:"Environment variables that the library reads, e.g. SOFTHSM2_CONF=/etc/softhsm2.conf."`
}

// Second names the token that takes over while that of PKCS11 does not serve: in
// another slot, or of another device with a library of its own. It holds the same
// root keys (kmsctl root copy), and has the same security officer's PIN.
type Second struct {
	Library    string        `yaml:"library,omitempty" help:"Path of the PKCS #11 library of the second HSM; that of module.pkcs11 when absent, and then the token is in another slot."`
	TokenLabel string        `yaml:"token_label,omitempty" help:"Label of the second HSM's token, which takes over while the first does not serve, with the same root keys (kmsctl root copy); no second HSM when absent."`
	Serial     string        `yaml:"serial,omitempty" help:"Serial number of the second HSM's token, where several have its label."`
	PINFile    string        `yaml:"pin_file,omitempty" help:"File with the user PIN of the second HSM's token, or credential:NAME; that of module.pkcs11 when absent."`
	Sessions   int           `yaml:"sessions,omitempty" help:"How many calls may be in the second HSM at once; that of module.pkcs11 when absent."`
	CallLimit  time.Duration `yaml:"call_limit,omitempty" help:"How long a call may be in the second HSM before it counts as gone; that of module.pkcs11 when absent."`
}

// Token is the second token with what it takes from the first.
func (s Second) Token(first PKCS11) PKCS11 {
	return PKCS11{
		Library: cmp.Or(s.Library, first.Library), TokenLabel: s.TokenLabel, Serial: s.Serial, PINFile: cmp.Or(s.PINFile, first.PINFile),
		Sessions: cmp.Or(s.Sessions, first.Sessions), CallLimit: cmp.Or(s.CallLimit, first.CallLimit), OpenLimit: first.OpenLimit,
	}
}

// Audit is the trace log.
type Audit struct {
	Dir             string        `yaml:"dir,omitempty" help:"Directory of the trace files; audit in the data directory when absent."`
	Sync            string        `yaml:"sync,omitempty" help:"When a trace counts as written: always (on disk before the response) or interval (a power failure may lose the traces of one interval); always when absent."`
	Interval        time.Duration `yaml:"interval,omitempty" help:"Time between two syncs of sync: interval; 1s when absent."`
	Retention       time.Duration `yaml:"retention,omitempty" help:"How long traces are kept at least, unless they take 80 % of the disk before; 168h when absent."`
	RetentionSize   int64         `yaml:"retention_size,omitempty" help:"How many bytes of traces are kept at most; 80 % of the disk when absent."`
	CheckpointPause time.Duration `yaml:"checkpoint_pause,omitempty" help:"Time from one signed checkpoint of the traces to the next, 1s to 1h; what was traced since the last one is proved by the chain alone. 10s when absent."`
	RefusalAlarm    int           `yaml:"refusal_alarm,omitempty" help:"How many refusals within a minute of one user, of one address that nobody is known from, or about one key are traced as an incident; 30 when absent, -1 for never."`
	Full            string        `yaml:"full,omitempty" help:"What happens when the disk is full: refuse (calls are refused, refusals are still traced) or drop-oldest; refuse when absent."`
	Export          []Export      `yaml:"export,omitempty" help:"Where traces are taken to besides, a list of sinks, in the file only: name, type (lines, syslog, webhook or otlp) and what the type needs."`
}

// Export is one place that traces are taken to.
type Export struct {
	Name              string        `yaml:"name" help:"Name of the sink in metrics, logs and the file of its place: 1 to 32 lower-case letters, digits and inner hyphens."`
	Type              string        `yaml:"type" help:"lines (JSON lines to a file or standard output), syslog (RFC 5424 over TLS), webhook (signed POST of JSON lines) or otlp (OpenTelemetry logs over HTTP)."`
	Path              string        `yaml:"path,omitempty" help:"Of lines: the file, or - for standard output. A file that is renamed is begun anew by itself, and on SIGHUP."`
	MaxSize           int64         `yaml:"max_size,omitempty" help:"Of lines: bytes of a file before it is renamed to PATH.1 and so on; not at all when absent."`
	Keep              int           `yaml:"keep,omitempty" help:"Of lines: how many renamed files stay; 5 when absent."`
	Address           string        `yaml:"address,omitempty" help:"Of syslog: HOST:PORT of the receiver, 6514 by custom."`
	URL               string        `yaml:"url,omitempty" help:"Of webhook and otlp: the https URL; for otlp it ends in /v1/logs. It holds no secret."`
	SecretFile        string        `yaml:"secret_file,omitempty" help:"Of webhook: file with the secret that signs, or credential:NAME; not signed when absent."`
	AuthorizationFile string        `yaml:"authorization_file,omitempty" help:"Of webhook and otlp: file with the Authorization header, or credential:NAME; none when absent."`
	CAFile            string        `yaml:"ca_file,omitempty" help:"PEM file of the authorities of the receiver's certificate; the system's when absent."`
	CertificateFile   string        `yaml:"certificate_file,omitempty" help:"PEM file of a client certificate; none when absent."`
	KeyFile           string        `yaml:"key_file,omitempty" help:"PEM file of the client certificate's private key; goes with certificate_file."`
	Plain             bool          `yaml:"plain,omitempty" help:"Whether traces may travel without TLS (TCP, http); to this machine itself http always may. False when absent."`
	From              string        `yaml:"from,omitempty" help:"Where a new sink begins: oldest (with all traces that are there) or now; oldest when absent."`
	Timeout           time.Duration `yaml:"timeout,omitempty" help:"How long one attempt to hand over traces may take; 10s when absent."`
}

// Sinks are the exports as the server takes them. directory is the process's
// CREDENTIALS_DIRECTORY; secrets are read from there, and files, when they are needed.
func (a Audit) Sinks(directory string) ([]export.Config, error) {
	secret := func(name string) func() ([]byte, error) {
		if name == "" {
			return nil
		}
		return func() ([]byte, error) { return ReadSecret(name, directory) }
	}
	var sinks []export.Config
	names := make(map[string]bool)
	for i, e := range a.Export {
		c := export.Config{
			Name: e.Name, Kind: export.Kind(e.Type), Path: e.Path, MaxSize: e.MaxSize, Keep: e.Keep, Address: e.Address, URL: e.URL, Plain: e.Plain,
			CAFile: e.CAFile, CertificateFile: e.CertificateFile, KeyFile: e.KeyFile,
			Secret: secret(e.SecretFile), Authorization: secret(e.AuthorizationFile), FromNow: e.From == "now", Timeout: e.Timeout,
		}
		err := c.Check()
		switch {
		case e.From != "" && e.From != "oldest" && e.From != "now":
			err = fmt.Errorf("from %q must be oldest or now", e.From)
		case names[e.Name]:
			err = fmt.Errorf("name %q is there twice", e.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("audit.export[%d]: %w", i, err)
		}
		names[e.Name] = true
		sinks = append(sinks, c)
	}
	return sinks, nil
}

// Keys is how keys end. Every node of a cluster should have the same.
type Keys struct {
	DeletionMinimum  time.Duration `yaml:"deletion_minimum,omitempty" help:"Shortest time that a key waits for its deletion, 1s to 26304h; below 24h, pending_days 0 means that time; 168h when absent."`
	ErasurePause     time.Duration `yaml:"erasure_pause,omitempty" help:"Time from one rewriting of the node's files, which erases deleted keys from them, to the next; 10m when absent."`
	ForbidWeakImport bool          `yaml:"forbid_weak_import,omitempty" help:"Whether imports wrapped with RSAES_OAEP_SHA_1 or RSAES_PKCS1_V1_5 are refused; they are traced with a warning when false or absent."`
	Services         []string      `yaml:"services,omitempty" help:"Services that have a default master key, SERVICE/default, in every project from its first use on; obs, evs, ims, sfs, rds and dds when absent."`
}

// Limits are what one address and one user may ask of the node. An address is
// the client's where a balancer names it (api.proxies_trusted).
type Limits struct {
	Connections int `yaml:"connections,omitempty" help:"Connections to the API that one address may hold open at once, 1 to 16384; those beyond are closed; 4096 when absent."`
	Failures    int `yaml:"failures,omitempty" help:"Wrong logins and credentials a minute of one address, ten times as many at once, that are treated like other requests; beyond them no passwords of that address are looked at, and refusals are traced together; 60 when absent."`
	AddressRate int `yaml:"address_rate,omitempty" help:"Requests a second of one address; those beyond are answered 503 with Retry-After; no limit when absent."`
	Calls       int `yaml:"calls,omitempty" help:"Calls that are worked on at once, uses of keys and all others apart; one user has at most half of them. Four times as many wait, for a second at most, users by turns; those beyond are answered 503 with Retry-After, when they are many not before they are a second old. 1024 when absent."`
	UserRate    int `yaml:"user_rate,omitempty" help:"Requests a second of one user on this node; those beyond are answered 503 with Retry-After; no limit when absent."`
}

// Log is the process log on standard error.
type Log struct {
	Level  string `yaml:"level,omitempty" help:"Least severe level that is logged: debug, info, warn or error; info when absent."`
	Format string `yaml:"format,omitempty" help:"Form of log lines: text or json; text when absent."`
}

// Values that stand in for absent fields.
const (
	defaultDataDir         = "/var/lib/raftkms"
	defaultAPIListen       = "127.0.0.1:8440"
	defaultClusterListen   = "127.0.0.1:8441"
	defaultGossipListen    = "127.0.0.1:8442"
	defaultShutdownTimeout = 10 * time.Second
	defaultDeletionMinimum = 7 * 24 * time.Hour
	defaultErasurePause    = 10 * time.Minute
)

// fill puts the documented value into every absent field. hostname stands in
// for an absent node id.
func (c *Config) fill(hostname string) {
	or := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	or(&c.Node.ID, hostname)
	or(&c.Node.DataDir, defaultDataDir)
	or(&c.Node.AdminSocket, filepath.Join(c.Node.DataDir, "admin.sock"))
	or(&c.API.Listen, defaultAPIListen)
	or(&c.API.Advertise, "https://"+c.API.Listen)
	or(&c.API.MinTLS, "1.2")
	or(&c.Cluster.Listen, defaultClusterListen)
	or(&c.Cluster.Advertise, c.Cluster.Listen)
	or(&c.Cluster.Reads, "read-index")
	or(&c.Gossip.Listen, defaultGossipListen)
	or(&c.Gossip.Advertise, c.Gossip.Listen)
	or(&c.Module.Kind, "soft")
	if c.Module.Kind == "soft" {
		or(&c.Module.Soft.RootsFile, filepath.Join(c.Node.DataDir, "module", "roots"))
		or(&c.Module.Soft.PrivateKeyFile, filepath.Join(c.Node.DataDir, "module", "private-key"))
		if c.Module.Soft.PassphraseFile == "" {
			or(&c.Module.Soft.UnlockKeyFile, filepath.Join(c.Node.DataDir, "module", "unlock-key"))
		}
	}
	or(&c.Audit.Dir, filepath.Join(c.Node.DataDir, "audit"))
	or(&c.Audit.Sync, "always")
	or(&c.Audit.Full, "refuse")
	if c.Keys.DeletionMinimum == 0 {
		c.Keys.DeletionMinimum = defaultDeletionMinimum
	}
	if c.Keys.ErasurePause == 0 {
		c.Keys.ErasurePause = defaultErasurePause
	}
	or(&c.Log.Level, "info")
	or(&c.Log.Format, "text")
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = defaultShutdownTimeout
	}
}

// LogMarks says whether reads go through the log.
func (c Cluster) LogMarks() bool { return c.Reads == "log-mark" }

// MinTLSVersion is the oldest TLS version as crypto/tls counts them.
func (a API) MinTLSVersion() uint16 {
	if a.MinTLS == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// Proxies are the balancers' addresses that are trusted to name a client.
func (a API) Proxies() ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range a.ProxiesTrusted {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, single := netip.ParseAddr(text)
			if single != nil {
				return nil, fmt.Errorf("api.proxies_trusted %q must be an IP address or a CIDR such as 192.0.2.0/24", text)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}
