package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raftkms/raftkms/client/devfile"
)

// Config says where the cluster is and who is calling.
type Config struct {
	// Endpoints are the nodes' addresses, https://host[:port]; at least one. With
	// dns://host[:port] every address that the name has is a node; certificates
	// are verified for the name, and signatures are for it.
	Endpoints []string
	// Refresh is how often it is found out which nodes there are now, while calls
	// are made; 0: 30 s, and when one fails; less than 0: never. A cluster of
	// which one endpoint is a member is asked for its members, and from then on
	// all of them are called; a name is looked up again. Endpoints that are no
	// member's own address, such as a balancer's, are called as they are.
	Refresh time.Duration
	// Resolver looks names up; nil: the system's.
	Resolver Resolver
	// CA verifies the nodes' certificates; nil: the system's certificates.
	CA *x509.CertPool
	// AccessKey and SecretKey sign every call. Who has none proves who they are
	// by exactly one of the following.
	AccessKey, SecretKey string
	// Token returns a token of the identity service for the project, and Bearer a
	// token of an OIDC issuer that the cluster believes. They are asked at every
	// try, so they keep what they have got until it is about to end.
	Token, Bearer func(ctx context.Context) (string, error)
	// Certificate is a client's certificate, of a CA that the cluster believes,
	// with its private key. It may go with an access key, too: then a proxy in
	// between asks for it, and the access key counts.
	Certificate *tls.Certificate
	// ProjectID is the project whose keys are used.
	ProjectID string
	// AttemptTimeout bounds one try on one node where the call may be repeated
	// on another; 0: 5 s. A change has half of what is left of the call, if that is
	// more, and all of it on a node that does not know repeats.
	AttemptTimeout time.Duration
	// Patience bounds a call with all its tries, beside the deadline of its
	// context; 0: 30 s.
	Patience time.Duration
	// HedgeAfter has a decryption that has got no answer for so long asked of a
	// second node as well, and the first answer counts; 0: never. Ten are at
	// first, and one in ten in the long run. Each of the two is a use of the key in the traces.
	HedgeAfter time.Duration
	// Connections is how many idle connections are kept per node; 0: 64.
	Connections int
}

// Client calls one cluster. It is safe for concurrent use.
type Client struct {
	members membership
	turn    turn
	connect func(address string) *http.Client // of one node; empty: at its URL
	proof   proof
	project string
	hedges  hedges

	attemptTimeout, patience, hedgeAfter time.Duration

	// What goes on between calls ends with life; Close waits for it.
	life context.Context
	end  context.CancelFunc
	mu   sync.Mutex
	over bool
	work sync.WaitGroup
}

// New checks the configuration; nothing is dialled yet.
func New(cfg Config) (*Client, error) {
	proof, err := cfg.proof()
	if err != nil {
		return nil, err
	}
	if cfg.ProjectID == "" || strings.Contains(cfg.ProjectID, "/") {
		return nil, errors.New("the project id is needed")
	}
	endpoints, err := parseEndpoints(cfg.Endpoints)
	if err != nil {
		return nil, err
	}
	orDefault := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orDefault(&cfg.AttemptTimeout, 5*time.Second)
	orDefault(&cfg.Patience, 30*time.Second)
	orDefault(&cfg.Refresh, defaultRefresh)
	if cfg.Connections == 0 {
		cfg.Connections = 64
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	c := &Client{
		connect:        connector(cfg),
		proof:          proof,
		project:        cfg.ProjectID,
		attemptTimeout: cfg.AttemptTimeout,
		patience:       cfg.Patience,
		hedgeAfter:     cfg.HedgeAfter,
	}
	c.hedges.fill()
	c.life, c.end = context.WithCancel(context.Background())
	m := &c.members
	m.endpoints, m.resolver, m.refresh, m.looking = endpoints, cfg.Resolver, cfg.Refresh, make(chan struct{}, 1)
	m.named = slices.ContainsFunc(endpoints, func(e endpoint) bool { return e.name })
	var nodes []*node // none where a name's addresses are still to be found
	for _, e := range endpoints {
		if !m.named {
			nodes = append(nodes, c.nodeAt(e.host, ""))
		}
	}
	m.nodes.Store(&nodes)
	m.next.Store(time.Now().Add(min(firstRefresh, cfg.Refresh)).UnixNano())
	return c, nil
}

// connector returns what makes the HTTP client of a node. Each node has its
// own, so that those at addresses of one name are told apart, and connections
// to one that has left are closed.
func connector(cfg Config) func(address string) *http.Client {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	security := cfg.tls()
	return func(address string) *http.Client {
		return &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a signature is for one place only
			},
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, network, named string) (net.Conn, error) {
					if address != "" {
						named = address
					}
					return dialer.DialContext(ctx, network, named)
				},
				TLSClientConfig:     security.Clone(),
				TLSHandshakeTimeout: 5 * time.Second,
				MaxIdleConnsPerHost: cfg.Connections,
				IdleConnTimeout:     90 * time.Second,
				DisableCompression:  true,
			},
		}
	}
}

// NewFromDevFile makes a client of the cluster that a dev.json describes.
func NewFromDevFile(path string) (*Client, error) {
	cfg, err := ReadDevFile(path)
	if err != nil {
		return nil, err
	}
	return New(cfg)
}

// ReadDevFile returns the configuration of a client of the cluster that a dev.json
// describes, who is its first administrator.
func ReadDevFile(path string) (Config, error) {
	dev, err := devfile.Read(path)
	if err != nil {
		return Config{}, err
	}
	pool, err := ReadCA(dev.CAFile)
	if err != nil {
		return Config{}, err
	}
	return Config{
		Endpoints: dev.URLs(), CA: pool,
		AccessKey: dev.AccessKey, SecretKey: dev.SecretKey, ProjectID: dev.ProjectID,
	}, nil
}

// ReadCA reads the PEM certificates of a file.
func ReadCA(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the CA certificate: %s holds none", path)
	}
	return pool, nil
}

// ProjectID is the project whose keys are used.
func (c *Client) ProjectID() string { return c.project }

// Close ends what goes on between calls and drops idle connections. Calls can
// still be made; the nodes stay as they are then.
func (c *Client) Close() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
	for _, n := range *c.members.nodes.Load() {
		n.http.CloseIdleConnections()
	}
}

// background does some work between calls, unless the client is closed.
func (c *Client) background(work func()) (started bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return false
	}
	c.work.Go(work)
	return true
}
