package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/raftkms/raftkms/client/devfile"
)

// Config says where the cluster is and who is calling.
type Config struct {
	// Endpoints are the nodes' addresses, https://host[:port]; at least one.
	Endpoints []string
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
	// on another; 0: 5 s. A write has as long as the whole call.
	AttemptTimeout time.Duration
	// Patience bounds a call with all its tries, beside the deadline of its
	// context; 0: 30 s.
	Patience time.Duration
	// Connections is how many idle connections are kept per node; 0: 64.
	Connections int
}

// Client calls one cluster. It is safe for concurrent use.
type Client struct {
	nodes   []*node
	turn    turn
	http    *http.Client
	proof   proof
	project string

	attemptTimeout, patience time.Duration
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
	nodes, err := parseEndpoints(cfg.Endpoints)
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
	if cfg.Connections == 0 {
		cfg.Connections = 64
	}
	return &Client{
		nodes:          nodes,
		proof:          proof,
		project:        cfg.ProjectID,
		attemptTimeout: cfg.AttemptTimeout,
		patience:       cfg.Patience,
		http: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a signature is for one place only
			},
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
				TLSClientConfig:     cfg.tls(),
				TLSHandshakeTimeout: 5 * time.Second,
				MaxIdleConnsPerHost: cfg.Connections,
				IdleConnTimeout:     90 * time.Second,
				DisableCompression:  true,
			},
		},
	}, nil
}

// NewFromDevFile makes a client of the cluster that a dev.json describes.
func NewFromDevFile(path string) (*Client, error) {
	dev, err := devfile.Read(path)
	if err != nil {
		return nil, err
	}
	pool, err := ReadCA(dev.CAFile)
	if err != nil {
		return nil, err
	}
	return New(Config{
		Endpoints: dev.URLs(), CA: pool,
		AccessKey: dev.AccessKey, SecretKey: dev.SecretKey, ProjectID: dev.ProjectID,
	})
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

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func parseEndpoints(endpoints []string) ([]*node, error) {
	if len(endpoints) == 0 {
		return nil, errors.New("at least one endpoint is needed")
	}
	var nodes []*node
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("endpoint %q is no https URL without a path", endpoint)
		}
		if slices.ContainsFunc(nodes, func(n *node) bool { return n.host == u.Host }) {
			return nil, fmt.Errorf("endpoint %q is given twice", endpoint)
		}
		nodes = append(nodes, &node{url: "https://" + u.Host, host: u.Host})
	}
	return nodes, nil
}
