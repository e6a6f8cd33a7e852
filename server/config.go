package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/audit/export"
	"github.com/raftkms/raftkms/server/gate"
)

// Config is what one node is made of. Zero values are usable where a sentence
// says what they mean.
type Config struct {
	// NodeID names the node in its cluster for ever: 1 to 64 of a-z 0-9 and -.
	NodeID string
	// OwnProcess says that there is no other node in this process: what the
	// libraries of replication count, they count per process, and /metrics has it.
	OwnProcess bool
	// DataDir holds the node's identity and its copy of the state.
	DataDir string
	// AuditDir holds the traces; empty: DataDir/audit.
	AuditDir string
	// AuditSync says when a trace counts as written; empty: on disk.
	AuditSync audit.Sync
	// AuditInterval is the time between syncs where AuditSync is by interval; 0: 1 s.
	AuditInterval time.Duration
	// AuditRetention is how long traces are kept at least; 0: 7 days.
	AuditRetention time.Duration
	// AuditRetentionSize is how many bytes of traces are kept at most; 0: 80 % of the disk.
	AuditRetentionSize int64
	// RefusalAlarm is how many refusals of one user or address, or about one key,
	// within a minute are an incident; 0: 30, less than 0: none are.
	RefusalAlarm int
	// AuditFull says what happens on a full disk; empty: calls are refused.
	AuditFull audit.Full
	// CheckpointPause is the time from one checkpoint of the traces to the next;
	// 0: 10 s. What was traced since the last one is proved by the chain alone.
	CheckpointPause time.Duration
	// AuditExport are the places that traces are taken to.
	AuditExport []export.Config
	// AdminSocket is the operator's Unix socket; empty: DataDir/admin.sock.
	AdminSocket string
	// Version of the program, as status and metrics show it.
	Version string
	// FeatureLevel is the highest feature level that the program knows; 0: that of
	// this version. A test of rolling upgrades has a program say more.
	FeatureLevel uint32

	// APIListen is the host:port of the API.
	APIListen string
	// APIURL is where clients find it; empty: https:// and APIListen.
	APIURL string
	// CatalogURL is where the catalog of services sends clients: the
	// balancer's address; empty: APIURL.
	CatalogURL string
	// APICertificateFile and APIKeyFile are PEM, read again when they change;
	// empty: the certificate that the cluster's own CA gave this node.
	APICertificateFile string
	APIKeyFile         string
	// APIMinTLS is tls.VersionTLS12 or tls.VersionTLS13; 0: 1.2.
	APIMinTLS uint16
	// ProxiesTrusted are the addresses of balancers that name the client in a
	// PROXY protocol header, which they must send; empty: the header is not read.
	ProxiesTrusted []netip.Prefix
	// Limits are what one address and one user may ask of this node.
	Limits gate.Config

	// ClusterListen is the host:port on which members meet (Raft and calls).
	ClusterListen string
	// ClusterAdvertise is where other members find it; empty: ClusterListen.
	ClusterAdvertise string
	// Standby has a node that joins stay without a vote.
	Standby bool
	// DeadAfter is how long a voter must have been silent before it may lose its
	// vote; 0: 10 min, less than 0: never.
	DeadAfter time.Duration
	// Reads is how reads find out that they are current.
	Reads cluster.Reads
	// GossipListen is the host:port of memberlist, TCP and UDP.
	GossipListen string
	// GossipAdvertise is where other members find it; empty: GossipListen.
	GossipAdvertise string

	// JoinToken has a node without a cluster join one at start.
	JoinToken string

	// LoadedKeys is how many key versions are kept loaded; 0: 4096.
	LoadedKeys int
	// MinDeletionWait is how long a key waits for its deletion at least; 0: 7 days.
	MinDeletionWait time.Duration
	// ForbidWeakImport refuses imports wrapped with SHA-1 OAEP or PKCS #1 v1.5.
	ForbidWeakImport bool
	// Services have a default master key in every project; nil: obs, evs, ims, sfs, rds, dds.
	Services []string
	// ErasurePause is the time from one erasure of the node's files to the next; 0: 10 min.
	ErasurePause time.Duration

	// Module is the node's HSM; whoever opened it closes it after Run.
	Module hsm.Module
	// Logger takes what an operator should see; never a secret.
	Logger *slog.Logger
	// DrainDelay is how long /readyz says no before connections are closed, so
	// that balancers look elsewhere; 0: not at all.
	DrainDelay time.Duration
	// ShutdownTimeout bounds the clean part of a stop; 0: 10 s.
	ShutdownTimeout time.Duration
}

var nodeIDPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)

// withDefaults fills what is empty and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	if !nodeIDPattern.MatchString(c.NodeID) {
		return c, fmt.Errorf("node id %q is not 1 to 64 of a-z, 0-9 and inner hyphens", c.NodeID)
	}
	switch {
	case c.DataDir == "":
		return c, errors.New("no data directory is given")
	case c.APIListen == "" || c.ClusterListen == "" || c.GossipListen == "":
		return c, errors.New("the API, cluster and gossip ports each need an address to listen on")
	case c.Module == nil:
		return c, errors.New("no module is given")
	case (c.APICertificateFile == "") != (c.APIKeyFile == ""):
		return c, errors.New("the API's certificate file and key file are given together or not at all")
	}
	if c.FeatureLevel == 0 {
		c.FeatureLevel = state.FeatureLevel
	}
	if c.AuditDir == "" {
		c.AuditDir = filepath.Join(c.DataDir, "audit")
	}
	if c.AdminSocket == "" {
		c.AdminSocket = filepath.Join(c.DataDir, adminSocketFile)
	}
	if c.APIURL == "" {
		c.APIURL = "https://" + c.APIListen
	}
	if u, err := url.Parse(c.APIURL); err != nil || u.Scheme != "https" || u.Host == "" {
		return c, fmt.Errorf("the API's advertised address %q is not an https URL", c.APIURL)
	}
	if c.CatalogURL == "" {
		c.CatalogURL = c.APIURL
	}
	c.CatalogURL = strings.TrimSuffix(c.CatalogURL, "/")
	if u, err := url.Parse(c.CatalogURL); err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return c, fmt.Errorf("the catalog's address %q is not an https URL", c.CatalogURL)
	}
	if c.APIMinTLS == 0 {
		c.APIMinTLS = tls.VersionTLS12
	}
	if c.ClusterAdvertise == "" {
		c.ClusterAdvertise = c.ClusterListen
	}
	if c.GossipAdvertise == "" {
		c.GossipAdvertise = c.GossipListen
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.ErasurePause == 0 {
		c.ErasurePause = 10 * time.Minute
	}
	if c.CheckpointPause == 0 {
		c.CheckpointPause = 10 * time.Second
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 10 * time.Second
	}
	return c, nil
}
