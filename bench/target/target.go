// Package target knows how to drive the services that a benchmark compares: one
// of the Huawei-style dialect, and by their public protocols one of the AWS
// style, transit of Vault or OpenBao, and KES. Each makes data keys under a key
// that somebody else holds, so that the same load can be put on each.
//
// What it promises: all of a load is prepared before it begins, so that a call of
// the load is nothing but the request; a service that cannot be used is reported
// in one sentence that says what to do about it. Credentials are in no error.
package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

// Operations, by their names in the Huawei-style dialect. Those of other
// services that do the same go by these names, too.
const (
	CreateDataKey        = "create-datakey"
	CreateDataKeyWithout = "create-datakey-without-plaintext"
	CreateDataKeys       = "create-datakeys"
	DecryptDataKey       = "decrypt-datakey"
	EncryptData          = "encrypt-data"
	DecryptData          = "decrypt-data"
	Sign                 = "sign"
)

// Work is what a load does.
type Work struct {
	Operation string
	// Keys are the ids or names of the keys that are used in turn; at least one.
	Keys []string
	// Payload is in bytes: the length of a data key, or of what is encrypted or
	// signed; 0: 32.
	Payload int
	// Batch is how many data keys one create-datakeys makes; 0: 100.
	Batch int
}

func (w Work) payload() int {
	if w.Payload == 0 {
		return 32
	}
	return w.Payload
}

func (w Work) batch() int {
	if w.Batch == 0 {
		return 100
	}
	return w.Batch
}

// Endpoint is where a service is, and what is known of its TLS.
type Endpoint struct {
	URLs []string // https://host[:port]
	CA   *x509.CertPool
	// Certificate is the client's, where the service asks for one.
	Certificate *tls.Certificate
}

// Service is something to drive.
type Service interface {
	// Probe is a request that succeeds for who may use the service; ok is false
	// where there is none but the load's own.
	Probe() (probe load.PosterConfig, ok bool)
	// Prepare makes what the work needs and returns the load's requests.
	Prepare(ctx context.Context, w Work) (load.PosterConfig, error)
}

// poster begins the configuration of a poster for an endpoint.
func (e Endpoint) poster() (load.PosterConfig, error) {
	cfg := load.PosterConfig{CA: e.CA, Certificate: e.Certificate, MinTLS: tls.VersionTLS12}
	for _, address := range e.URLs {
		u, err := url.Parse(address)
		switch {
		case err != nil || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil:
			return cfg, fmt.Errorf("%q is not of the form https://HOST[:PORT]", address)
		case u.Scheme == "http":
			return cfg, fmt.Errorf("%s is plain HTTP: credentials and data keys are only sent over TLS; give https://%s, with the CA of the service's certificate", address, u.Host)
		case u.Scheme != "https":
			return cfg, fmt.Errorf("%q is not of the form https://HOST[:PORT]", address)
		}
		host := u.Host
		if u.Port() == "" {
			host += ":443"
		}
		cfg.URLs = append(cfg.URLs, "https://"+host)
	}
	if len(cfg.URLs) == 0 {
		return cfg, fmt.Errorf("the address of the service is missing: give --url https://HOST[:PORT]")
	}
	return cfg, nil
}

// probeTimeout bounds the one call by which a service is tried.
const probeTimeout = 10 * time.Second

// Reach makes one call to each address of a service, and explains a failure.
func Reach(ctx context.Context, cfg load.PosterConfig) error {
	if cfg.Timeout == 0 {
		cfg.Timeout = probeTimeout
	}
	urls := cfg.URLs
	cfg.Workers = 1
	for _, address := range urls {
		cfg.URLs = []string{address}
		if err := try(ctx, cfg); err != nil {
			return Explain(strings.TrimPrefix(address, "https://"), err)
		}
	}
	return nil
}

func try(ctx context.Context, cfg load.PosterConfig) error {
	poster, err := load.NewPoster(cfg)
	if err != nil {
		return err
	}
	defer poster.Close()
	return poster.Call(ctx, 0)
}

// unsupported says that a service does not do an operation.
func unsupported(service, operation string, does ...string) error {
	return fmt.Errorf("%s is not driven with %q, but with %s", service, operation, strings.Join(does, ", "))
}
