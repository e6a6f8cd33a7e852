package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of calls between nodes.
const (
	// MaxBody is the largest body of a call or of its reply, in bytes.
	MaxBody = 1 << 20
	// MaxCall is the longest time that a handler is given.
	MaxCall = time.Minute

	pathPrefix    = "/raftkms/1/"
	timeoutHeader = "Raftkms-Timeout" // what is left for the call, in milliseconds
	callsPerConn  = 2048
	connsPerNode  = 4               // a burst of first calls would dial once each, and be taken for a flood
	pingAfter     = 2 * time.Second // of silence on a connection ...
	pingTimeout   = 2 * time.Second // ... and how long until the connection is given up
)

// How a call may fail without an answer.
var (
	// ErrUnreachable: there was no connection to the node; nothing was sent.
	ErrUnreachable = errors.New("the node cannot be reached")
	// ErrBroken: the call was sent, or may have been, and no answer came: what
	// it asked for may be done or not.
	ErrBroken = errors.New("the call was cut off")
)

// Handler answers a call; peer is the node id that the caller's certificate
// proves. ctx ends with the caller's deadline, the connection or the node.
type Handler func(ctx context.Context, peer string, body []byte) ([]byte, error)

// RPC is the calls between nodes: HTTP/2 with bounded bodies and deadlines that
// travel along.
type RPC struct {
	port     *Port
	address  func(nodeID string) (string, bool)
	log      *slog.Logger
	handlers sync.Map // method → Handler
	server   *http.Server
	client   *http.Transport
	ctx      context.Context
	cancel   context.CancelFunc
	serving  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // handlers under way
}

// NewRPC makes the calls of a port; [RPC.Serve] begins to answer them. address returns the cluster address
// of a node, false when the node is not known.
func NewRPC(p *Port, address func(nodeID string) (string, bool)) *RPC {
	r := &RPC{port: p, address: address, log: p.cfg.Logger}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	http2 := &http.HTTP2Config{MaxConcurrentStreams: callsPerConn, SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	r.server = &http.Server{
		Handler:           r,
		ReadHeaderTimeout: handshakeTimeout,
		MaxHeaderBytes:    8 << 10,
		HTTP2:             http2,
		BaseContext:       func(net.Listener) context.Context { return r.ctx },
		ErrorLog:          slog.NewLogLogger(p.cfg.Logger.Handler(), slog.LevelDebug),
	}
	r.client = &http.Transport{
		DialTLSContext:     r.dial,
		ForceAttemptHTTP2:  true,
		MaxConnsPerHost:    connsPerNode,
		DisableCompression: true,
		HTTP2:              http2,
	}
	return r
}

// Serve begins to answer calls; those that came before wait for it.
func (r *RPC) Serve() { r.serving.Go(func() { r.server.Serve(r.port.rpc) }) }

// Handle says who answers calls of a method. Methods are words of letters,
// digits, '-', '_' and '.'.
func (r *RPC) Handle(method string, h Handler) { r.handlers.Store(method, h) }

// Handler returns who answers calls of a method.
func (r *RPC) Handler(method string) (Handler, bool) {
	h, ok := r.handlers.Load(method)
	if !ok {
		return nil, false
	}
	return h.(Handler), true
}

// CloseIdle closes connections to other nodes on which nothing is under way, so
// that the next call shows and checks the certificates of that moment.
func (r *RPC) CloseIdle() { r.client.CloseIdleConnections() }

// Close ends all calls and waits for the handlers. The port must be closed
// first, or beside it.
func (r *RPC) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.server.Close()
	r.CloseIdle()
	r.calls.Wait()
	r.serving.Wait()
}

// ServeHTTP answers one call; net/http wants it exported.
func (r *RPC) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	r.calls.Add(1)
	r.mu.Unlock()
	defer r.calls.Done()

	reply, err := r.answer(w, req)
	if err == nil && len(reply) > MaxBody {
		err = fmt.Errorf("a reply of %d bytes, more than %d", len(reply), MaxBody)
	}
	if err != nil {
		reply = EncodeError(err, func(err error) {
			r.log.Error("answering a call", "method", strings.TrimPrefix(req.URL.Path, pathPrefix), "err", err)
		})
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
	w.Write(reply)
}

func (r *RPC) answer(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	peer, err := r.port.cfg.Identity.checkPeer(req.TLS.PeerCertificates[0])
	if err != nil {
		return nil, &RemoteError{Code: CodeInvalid, Message: err.Error()}
	}
	method, ok := strings.CutPrefix(req.URL.Path, pathPrefix)
	if !ok || req.Method != http.MethodPost {
		return nil, &RemoteError{Code: CodeUnknownMethod, Message: "not a call"}
	}
	handler, ok := r.Handler(method)
	if !ok {
		return nil, &RemoteError{Code: CodeUnknownMethod, Message: fmt.Sprintf("node %s does not know the method %.40q", r.port.cfg.Identity.nodeID, method)}
	}
	left, err := strconv.ParseInt(req.Header.Get(timeoutHeader), 10, 64)
	if err != nil || left <= 0 {
		return nil, &RemoteError{Code: CodeInvalid, Message: "the call has no time left"}
	}
	ctx, cancel := context.WithTimeout(req.Context(), min(time.Duration(left)*time.Millisecond, MaxCall))
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxBody))
	if err != nil {
		return nil, &RemoteError{Code: CodeInvalid, Message: fmt.Sprintf("the call's body cannot be read (at most %d bytes)", MaxBody)}
	}
	return handler(ctx, peer, body)
}

// Call asks a node and waits for its answer, for [MaxCall] at most. Errors are
// a [RemoteError] when the node answered with one, else wrap [ErrUnreachable]
// or [ErrBroken].
func (r *RPC) Call(ctx context.Context, nodeID, method string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("calling %s: %d bytes, more than %d: %w", method, len(body), MaxBody, ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(ctx, MaxCall)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	reply, err := r.roundTrip(ctx, nodeID, method, body)
	var remote *RemoteError
	switch {
	case err == nil:
		return reply, nil
	case errors.As(err, &remote):
		return nil, remote
	case sent.Load():
		return nil, fmt.Errorf("calling %s on node %s: %w: %w", method, nodeID, ErrBroken, err)
	default:
		return nil, fmt.Errorf("calling %s on node %s: %w: %w", method, nodeID, ErrUnreachable, err)
	}
}

func (r *RPC) roundTrip(ctx context.Context, nodeID, method string, body []byte) ([]byte, error) {
	target := url.URL{Scheme: "https", Host: nodeID, Path: pathPrefix + method}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline).Milliseconds()
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	req.Header.Set(timeoutHeader, strconv.FormatInt(left, 10))
	resp, err := r.client.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	switch {
	case err != nil:
		return nil, err
	case len(reply) > MaxBody:
		return nil, fmt.Errorf("a reply of more than %d bytes", MaxBody)
	case resp.StatusCode != http.StatusOK:
		return nil, DecodeError(reply)
	}
	return reply, nil
}

// dial is how the HTTP client reaches a node: hostPort is made of its name.
func (r *RPC) dial(ctx context.Context, _, hostPort string) (net.Conn, error) {
	nodeID, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	address, ok := r.address(nodeID)
	if !ok {
		return nil, fmt.Errorf("node %s is not a member", nodeID)
	}
	conn, err := r.port.dial(ctx, nodeID, address, protocolRPC)
	if err != nil {
		return nil, err // a nil *tls.Conn must not become a non-nil net.Conn
	}
	return conn, nil
}
