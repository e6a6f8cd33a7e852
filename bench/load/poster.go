package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/client/aksk"
)

// callTimeout bounds one call of a poster, unless it is told otherwise.
const callTimeout = 30 * time.Second

// keptIdle is how long a connection is kept that nobody uses: while others are
// measured in turn, and less than the 90 s after which a node closes it.
const keptIdle = 80 * time.Second

// PosterConfig is one request that is sent over and over.
type PosterConfig struct {
	URLs                 []string // https://host:port of the nodes; worker i uses number i modulo their count
	CA                   *x509.CertPool
	Method               string // POST when empty
	Path                 string // e.g. /v1.0/PROJECT/kms/create-datakey
	Body                 []byte
	Bodies               [][]byte // instead of Body: each worker sends them in turn
	Paths                []string // instead of Path: that of each of the Bodies
	Header               map[string]string
	AccessKey, SecretKey string
	// Prove, instead of the two, returns the headers that prove who calls.
	Prove   Prover
	Workers int // how many workers will call
	// Timeout bounds one call; 0: 30 s.
	Timeout time.Duration
	// Certificate is the client's, where the service asks for one.
	Certificate *tls.Certificate
	// MinTLS is the lowest version of TLS; 0: 1.3.
	MinTLS uint16
}

// Outgoing is a request that is about to be sent.
type Outgoing struct {
	Method, Host, Path string
	Header             map[string]string // of the configuration
	Body               []byte
	At                 time.Time
}

// Prover returns the headers that prove who calls. They are used until the
// second in which they were made is over.
type Prover func(Outgoing) (map[string]string, error)

// Poster sends one request per call over a kept TLS connection per worker. A
// signature is made once a second and worker, since its date counts seconds: on
// the machine that also runs the servers the load should cost as little as it
// can. With several bodies each call is signed.
type Poster struct {
	cfg     PosterConfig
	workers []posterWorker
	hosts   []*fasthttp.HostClient
}

type posterWorker struct {
	host     *fasthttp.HostClient
	name     string // of the host as it stands in requests: without the port of https
	request  *fasthttp.Request
	response *fasthttp.Response
	second   int64 // Unix time of the proof in the request
	next     int   // of the bodies
}

// NewPoster prepares a poster; nothing is dialled yet. Close ends it.
func NewPoster(cfg PosterConfig) (*Poster, error) {
	if len(cfg.URLs) == 0 || cfg.Workers < 1 {
		return nil, errors.New("a poster needs at least one URL and one worker")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = callTimeout
	}
	if len(cfg.Bodies) == 0 {
		cfg.Bodies = [][]byte{cfg.Body}
	}
	if len(cfg.Paths) > 0 && len(cfg.Paths) != len(cfg.Bodies) {
		return nil, fmt.Errorf("%d paths do not go with %d bodies", len(cfg.Paths), len(cfg.Bodies))
	}
	cfg.Method = cmp.Or(cfg.Method, fasthttp.MethodPost)
	cfg.MinTLS = cmp.Or(cfg.MinTLS, tls.VersionTLS13)
	if cfg.Prove == nil {
		cfg.Prove = proveByKey(aksk.NewSigner(cfg.AccessKey, cfg.SecretKey))
	}
	var certificates []tls.Certificate
	if cfg.Certificate != nil {
		certificates = append(certificates, *cfg.Certificate)
	}
	p := &Poster{cfg: cfg}
	for _, address := range cfg.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Port() == "" {
			return nil, fmt.Errorf("%q is not of the form https://HOST:PORT", address)
		}
		p.hosts = append(p.hosts, &fasthttp.HostClient{
			Addr: u.Host, IsTLS: true, MaxConns: cfg.Workers,
			TLSConfig:                     &tls.Config{RootCAs: cfg.CA, ServerName: u.Hostname(), MinVersion: cfg.MinTLS, Certificates: certificates},
			MaxIdleConnDuration:           keptIdle,
			WriteTimeout:                  cfg.Timeout, // bounds the TLS handshake, which the timeout of a call does not
			NoDefaultUserAgentHeader:      true,
			DisableHeaderNamesNormalizing: true,
			DisablePathNormalizing:        true,
		})
	}
	for i := range cfg.Workers {
		w := p.newWorker(p.hosts[i%len(p.hosts)])
		w.next = i * 7 // workers do not go in step
		p.workers = append(p.workers, w)
	}
	return p, nil
}

func (p *Poster) newWorker(host *fasthttp.HostClient) posterWorker {
	w := posterWorker{host: host, name: strings.TrimSuffix(host.Addr, ":443"), request: fasthttp.AcquireRequest(), response: fasthttp.AcquireResponse()}
	w.request.Header.SetMethod(p.cfg.Method)
	w.request.Header.SetContentType("application/json")
	for name, value := range p.cfg.Header {
		w.request.Header.Set(name, value)
	}
	return w
}

// Call sends the request as one worker; anything but status 200 is an error.
// It is a [Call].
func (p *Poster) Call(_ context.Context, worker int) error {
	w := &p.workers[worker]
	if now := time.Now(); now.Unix() != w.second || len(p.cfg.Bodies) > 1 {
		if err := p.prepare(w, now); err != nil {
			return err
		}
	}
	if err := w.host.DoTimeout(w.request, w.response, p.cfg.Timeout); err != nil {
		return fmt.Errorf("calling %s: %w", w.host.Addr, err)
	}
	if status := w.response.StatusCode(); status != fasthttp.StatusOK {
		refusal := newStatusError(w.host.Addr, status, w.response.Body())
		refusal.Again = len(w.response.Header.Peek(fasthttp.HeaderRetryAfter)) > 0
		return refusal
	}
	return nil
}

// prepare puts the worker's next request together.
func (p *Poster) prepare(w *posterWorker, now time.Time) error {
	at := w.next % len(p.cfg.Bodies)
	path, body := p.cfg.Path, p.cfg.Bodies[at]
	if len(p.cfg.Paths) > 0 {
		path = p.cfg.Paths[at]
	}
	proof, err := p.cfg.Prove(Outgoing{Method: p.cfg.Method, Host: w.name, Path: path, Header: p.cfg.Header, Body: body, At: now})
	if err != nil {
		return fmt.Errorf("signing a request: %w", err)
	}
	w.next++
	w.second = now.Unix()
	w.request.SetRequestURI("https://" + w.name + path)
	w.request.SetBodyRaw(body)
	for name, value := range proof {
		w.request.Header.Set(name, value)
	}
	return nil
}

// proveByKey signs by an access key, in layout A over host and date.
func proveByKey(signer *aksk.Signer) Prover {
	return func(r Outgoing) (map[string]string, error) {
		date := aksk.FormatDate(r.At)
		return map[string]string{
			aksk.DateHeader: date,
			"Authorization": signer.Authorization(aksk.Request{
				Method: r.Method, Path: r.Path, Headers: map[string]string{"host": r.Host}, Body: r.Body, Date: date,
			}),
		}, nil
	}
}

// Node is the host:port that a worker calls. It is a Config's NodeOf.
func (p *Poster) Node(worker int) string { return p.workers[worker].host.Addr }

// Response is the body of the last answer that a worker got. It is valid until
// that worker's next call.
func (p *Poster) Response(worker int) []byte { return p.workers[worker].response.Body() }

// Close drops the connections.
func (p *Poster) Close() {
	for i := range p.workers {
		fasthttp.ReleaseRequest(p.workers[i].request)
		fasthttp.ReleaseResponse(p.workers[i].response)
	}
	for _, host := range p.hosts {
		host.CloseIdleConnections()
	}
}
