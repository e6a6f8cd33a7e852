package export

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// Kind is what a sink is.
type Kind string

// The kinds of sinks.
const (
	Lines   Kind = "lines"   // JSON lines into a file or standard output
	Syslog  Kind = "syslog"  // RFC 5424 over TLS (RFC 5425)
	Webhook Kind = "webhook" // POST of JSON lines, signed
	OTLP    Kind = "otlp"    // OpenTelemetry logs over HTTP
)

// Config is one sink.
type Config struct {
	// Name names the sink in metrics, logs and the file of its place: 1 to 32 of
	// a-z 0-9 and -.
	Name string
	Kind Kind
	// Path is the file of Lines, made where it is missing; "-" is standard output.
	Path string
	// MaxSize is how many bytes the file has before it is renamed to PATH.1 (and
	// so on, Keep of them) and begun again; 0: it is left to others to rename it.
	MaxSize int64
	// Keep is how many renamed files stay; 0: 5.
	Keep int
	// Address is the host:port of Syslog.
	Address string
	// URL is where Webhook and OTLP post to.
	URL string
	// Plain allows what is sent to be read on its way: TCP or HTTP without TLS.
	// To the machine itself that is always allowed.
	Plain bool
	// CAFile is PEM; empty: the system's authorities.
	CAFile string
	// CertificateFile and KeyFile are a client certificate, PEM.
	CertificateFile, KeyFile string
	// Secret returns what Webhook signs with; nil: nothing is signed.
	Secret func() ([]byte, error)
	// Authorization returns the Authorization header of Webhook and OTLP; nil: none.
	Authorization func() ([]byte, error)
	// FromNow has a sink that has no place yet begin with the next trace, not
	// with the oldest.
	FromNow bool
	// Timeout bounds one attempt to hand over a batch; 0: 10 s.
	Timeout time.Duration
}

const (
	defaultTimeout = 10 * time.Second
	defaultKeep    = 5
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Check says what is wrong with a configuration, naming the field as the file
// of the configuration does.
func (c *Config) Check() error {
	if !namePattern.MatchString(c.Name) {
		return fmt.Errorf("name %q must be 1 to 32 lower-case letters, digits and inner hyphens", c.Name)
	}
	if c.Timeout < 0 || c.Timeout > 5*time.Minute || c.Timeout > 0 && c.Timeout < 100*time.Millisecond {
		return fmt.Errorf("timeout %s must lie between 100ms and 5m", c.Timeout)
	}
	if (c.CertificateFile == "") != (c.KeyFile == "") {
		return errors.New("certificate_file and key_file go together: give both or neither")
	}
	if c.Kind != Lines && (c.Path != "" || c.MaxSize != 0 || c.Keep != 0) {
		return errors.New("path, max_size and keep are for type lines")
	}
	if c.Kind != Syslog && c.Address != "" {
		return errors.New("address is for type syslog")
	}
	if c.Kind != Webhook && c.Kind != OTLP && (c.URL != "" || c.Authorization != nil) {
		return errors.New("url and authorization_file are for the types webhook and otlp")
	}
	if c.Kind != Webhook && c.Secret != nil {
		return errors.New("secret_file is for type webhook")
	}
	switch c.Kind {
	case Lines:
		return c.checkLines()
	case Syslog:
		return c.checkSyslog()
	case Webhook, OTLP:
		return c.checkURL()
	default:
		return fmt.Errorf("type %q must be lines, syslog, webhook or otlp", c.Kind)
	}
}

func (c *Config) checkLines() error {
	switch {
	case c.Path != "-" && !filepath.IsAbs(c.Path):
		return fmt.Errorf("path %q must be an absolute path, or - for standard output", c.Path)
	case c.Path == "-" && (c.MaxSize != 0 || c.Keep != 0):
		return errors.New("max_size and keep are for files, not for standard output")
	case c.MaxSize != 0 && c.MaxSize < 64<<10:
		return fmt.Errorf("max_size %d must be 65536 bytes or more", c.MaxSize)
	case c.Keep < 0 || c.Keep > 1000:
		return fmt.Errorf("keep %d must lie between 1 and 1000", c.Keep)
	case c.CAFile != "" || c.CertificateFile != "" || c.Plain:
		return errors.New("ca_file, certificate_file, key_file and plain are not for type lines")
	}
	return nil
}

func (c *Config) checkSyslog() error {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("address %q must be of the form HOST:PORT", c.Address)
	}
	if c.Plain && c.CAFile != "" {
		return errors.New("ca_file has no use with plain")
	}
	return nil
}

func (c *Config) checkURL() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("url must be an https URL") // not quoted: it may hold a secret
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("url must have neither user, query nor fragment: secrets are given as secret_file or authorization_file")
	case u.Scheme == "http" && !c.Plain && !loopback(u.Hostname()):
		return fmt.Errorf("url %q is not https: give plain to send traces in the clear", c.URL)
	}
	return nil
}

// loopback tells whether a host is this machine without a doubt.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// tls is the configuration of connections; the files are read anew for each, so
// that they can be replaced.
func (c *Config) tls(serverName string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CA certificate: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading the CA certificate: %s holds none", c.CAFile)
		}
	}
	if c.CertificateFile != "" {
		certificate, err := tls.LoadX509KeyPair(c.CertificateFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("loading the client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{certificate}
	}
	return t, nil
}
