package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/client/aksk"
)

// callTimeout bounds one call of a poster, unless it is told otherwise.
const callTimeout = 30 * time.Second

// PosterConfig is one request that is sent over and over.
type PosterConfig struct {
	URLs                 []string // https://host:port of the nodes; worker i uses number i modulo their count
	CA                   *x509.CertPool
	Path                 string // e.g. /v1.0/PROJECT/kms/create-datakey
	Body                 []byte
	Bodies               [][]byte // instead of Body: each worker sends them in turn
	AccessKey, SecretKey string
	Workers              int // how many workers will call
	// Timeout bounds one call; 0: 30 s.
	Timeout time.Duration
}

// Poster sends one signed POST request per call over a kept TLS connection per
// worker. A signature is made once a second and worker, since its date counts
// seconds: on the machine that also runs the servers the load should cost as
// little as it can.
type Poster struct {
	signer  *aksk.Signer
	timeout time.Duration
	path    string
	bodies  [][]byte
	workers []posterWorker
	hosts   []*fasthttp.HostClient
}

type posterWorker struct {
	host     *fasthttp.HostClient
	request  *fasthttp.Request
	response *fasthttp.Response
	date     string
	next     int // of the bodies
}

// NewPoster prepares a poster; nothing is dialled yet. Close ends it.
func NewPoster(cfg PosterConfig) (*Poster, error) {
	if len(cfg.URLs) == 0 || cfg.Workers < 1 {
		return nil, errors.New("a poster needs at least one URL and one worker")
	}
	p := &Poster{signer: aksk.NewSigner(cfg.AccessKey, cfg.SecretKey), path: cfg.Path, bodies: cfg.Bodies, timeout: cfg.Timeout}
	if p.timeout <= 0 {
		p.timeout = callTimeout
	}
	if len(p.bodies) == 0 {
		p.bodies = [][]byte{cfg.Body}
	}
	for _, address := range cfg.URLs {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Port() == "" {
			return nil, fmt.Errorf("%q is not of the form https://HOST:PORT", address)
		}
		p.hosts = append(p.hosts, &fasthttp.HostClient{
			Addr: u.Host, IsTLS: true, MaxConns: cfg.Workers,
			TLSConfig:                     &tls.Config{RootCAs: cfg.CA, ServerName: u.Hostname(), MinVersion: tls.VersionTLS13},
			WriteTimeout:                  p.timeout, // bounds the TLS handshake, which the timeout of a call does not
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
	w := posterWorker{host: host, request: fasthttp.AcquireRequest(), response: fasthttp.AcquireResponse()}
	w.request.Header.SetMethod(fasthttp.MethodPost)
	w.request.Header.SetContentType("application/json")
	w.request.SetRequestURI("https://" + host.Addr + p.path)
	w.request.SetBodyRaw(p.bodies[0])
	return w
}

// Call sends the request as one worker; anything but status 200 is an error.
// It is a [Call].
func (p *Poster) Call(_ context.Context, worker int) error {
	w := &p.workers[worker]
	if date := aksk.FormatDate(time.Now()); date != w.date || len(p.bodies) > 1 {
		p.sign(w, date)
	}
	if err := w.host.DoTimeout(w.request, w.response, p.timeout); err != nil {
		return fmt.Errorf("calling %s: %w", w.host.Addr, err)
	}
	if status := w.response.StatusCode(); status != fasthttp.StatusOK {
		return newStatusError(w.host.Addr, status, w.response.Body())
	}
	return nil
}

// Node is the host:port that a worker calls. It is a Config's NodeOf.
func (p *Poster) Node(worker int) string { return p.workers[worker].host.Addr }

// Response is the body of the last answer that a worker got. It is valid until
// that worker's next call.
func (p *Poster) Response(worker int) []byte { return p.workers[worker].response.Body() }

func (p *Poster) sign(w *posterWorker, date string) {
	w.date = date
	body := p.bodies[w.next%len(p.bodies)]
	w.next++
	w.request.SetBodyRaw(body)
	w.request.Header.Set(aksk.DateHeader, date)
	w.request.Header.Set("Authorization", p.signer.Authorization(aksk.Request{
		Method: fasthttp.MethodPost, Path: p.path,
		Headers: map[string]string{"host": w.host.Addr}, Body: body, Date: date,
	}))
}

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
