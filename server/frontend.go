package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/wire"
)

// incoming is one request on the API port.
type incoming struct {
	rc        *fasthttp.RequestCtx
	requestID string
	// A request that another node sent on, and what it came to. Only dialects
	// answer it; rc is there for the others.
	forwarded *huawei.Forwarded
	believed  func(root *state.Root) bool // whether the other node is, by a state
	outcome   *huawei.Outcome
	path      pathValues
}

// handler answers a request and returns the operation's name for the metrics.
type handler func(ctx context.Context, in incoming) (operation string)

const (
	// requestTimeout bounds a call from the first byte of its handling: long
	// enough for an election and a retried write, shorter than SDKs wait.
	requestTimeout = 20 * time.Second
	readTimeout    = 15 * time.Second
	writeTimeout   = 15 * time.Second
	idleTimeout    = 90 * time.Second
	headerLimit    = 16 << 10
	// maxConnections bounds memory; a balancer needs far fewer.
	maxConnections = 16384
)

// serveAPI answers on the API port until it is shut down.
func (s *Server) serveAPI(m *member) error {
	tlsConfig, err := s.apiTLS(m)
	if err != nil {
		return err
	}
	table := newRouteTable(s.routes(m))
	m.table = table
	s.metrics.watch(s, m)
	s.api = &fasthttp.Server{
		Handler:                      func(rc *fasthttp.RequestCtx) { s.answer(table, rc) },
		ErrorHandler:                 writeProtocolError,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		ReadBufferSize:               headerLimit,
		MaxRequestBodySize:           table.largestBody(),
		Concurrency:                  maxConnections,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		Logger:                       quietLogger{},
	}
	accept := s.connections.listen(s.apiListener)
	if len(s.cfg.ProxiesTrusted) > 0 {
		accept = listenProxied(accept, s.cfg.ProxiesTrusted)
	}
	listener := tls.NewListener(s.gate.Listen(accept), tlsConfig)
	s.tasks.Go(func() {
		if err := s.api.Serve(listener); err != nil && !s.draining.Load() {
			s.fail(fmt.Errorf("serving the API port: %w", err))
		}
	})
	return nil
}

// writeProtocolError answers what is no HTTP request. Where a request did not
// arrive in time, the time for writing, which began no later, is over as well: it
// begins anew, or else the answer breaks off in the middle of a TLS record, and
// the client is told of an attack instead of a timeout.
func writeProtocolError(rc *fasthttp.RequestCtx, err error) {
	// Where this fails the connection is closed already.
	_ = rc.Conn().SetWriteDeadline(time.Now().Add(writeTimeout))
	huawei.WriteProtocolError(rc, err)
}

// answer gives every request an id, a deadline and, whatever happens, an answer.
func (s *Server) answer(table routeTable, rc *fasthttp.RequestCtx) {
	started := time.Now()
	in := incoming{rc: rc, requestID: s.requestIDs.next()}
	rc.Response.Header.Set(huawei.HeaderRequestID, in.requestID)
	if s.draining.Load() {
		rc.SetConnectionClose() // the client opens its next connection elsewhere
	}
	operation := "unknown"
	defer func() {
		if cause := recover(); cause != nil {
			// The stack names functions and lines; the cause may quote input, so
			// only its type is logged.
			s.cfg.Logger.Error("a request handler panicked", "request_id", in.requestID, "operation", operation,
				"cause", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
			rc.Response.ResetBody()
			huawei.WriteInternal(rc, in.requestID)
			rc.SetConnectionClose()
		}
		s.metrics.observe(operation, rc.Response.StatusCode(), time.Since(started))
	}()

	path := string(rc.Path()) // a copy: its values outlive the request in traces
	r, values := table.find(string(rc.Method()), path)
	if r == nil {
		methods := table.methods(path)
		if len(methods) == 0 {
			huawei.WriteNotFound(rc, in.requestID)
			return
		}
		rc.Response.Header.Set("Allow", strings.Join(methods, ", "))
		huawei.WriteMethodNotAllowed(rc, in.requestID)
		return
	}
	if len(rc.Request.Body()) > r.body {
		huawei.WriteTooLarge(rc, in.requestID)
		return
	}
	in.path = values
	ctx := newDeadline(s.running, started.Add(requestTimeout))
	defer ctx.finish()
	operation = r.handler(ctx, in)
}

// dialect answers through the Huawei-style dialect.
func (s *Server) dialect(m *member, e huawei.Endpoint) handler {
	return func(ctx context.Context, in incoming) string {
		path := huawei.Path{
			Project: in.path.get("project_id"), Key: in.path.get("key_id"), Tag: in.path.get("tag_key"), Tracker: in.path.get("tracker_name"),
		}
		if in.forwarded != nil {
			*in.outcome = e.Answer(ctx, m.dialect, in.forwarded, in.believed, path)
			return e.Operation.Name
		}
		if !s.admit(in, huawei.WriteThrottled) {
			return e.Operation.Name
		}
		e.Serve(ctx, m.dialect, in.rc, in.requestID, path)
		return e.Operation.Name
	}
}

// identity answers through the identity service.
func (s *Server) identity(m *member, e keystone.Endpoint) handler {
	return func(ctx context.Context, in incoming) string {
		if !s.admit(in, keystone.WriteThrottled) {
			return e.Operation.Name
		}
		e.Serve(ctx, m.keystone, in.rc, in.requestID, in.path.get)
		return e.Operation.Name
	}
}

// plain answers with a document that is the same for everybody.
func plain(write func(rc *fasthttp.RequestCtx)) handler {
	return func(_ context.Context, in incoming) string {
		write(in.rc)
		return "version"
	}
}

// livez says that the process runs, and that it takes idempotency tokens: a
// client that repeats a change must know that before.
func livez(_ context.Context, in incoming) string {
	in.rc.Response.Header.Set(wire.HeaderIdempotencyToken, wire.TakesIdempotencyTokens)
	in.rc.SetContentType("text/plain")
	in.rc.SetBodyString("ok\n")
	return "livez"
}

// readyz says whether a balancer should send requests here. It asks nobody.
func readyz(m *member) handler {
	return func(_ context.Context, in incoming) string {
		in.rc.SetContentType("text/plain")
		if err := m.ready.now(); err != nil {
			in.rc.SetStatusCode(fasthttp.StatusServiceUnavailable)
			in.rc.Response.Header.Set("Retry-After", "1")
			in.rc.SetBodyString(err.Error() + "\n")
			return "readyz"
		}
		in.rc.SetBodyString("ok\n")
		return "readyz"
	}
}

// leader says who leads, with 200 on the leader itself and 503 elsewhere, so
// that a balancer can find it.
func (s *Server) leader(m *member) handler {
	return func(_ context.Context, in incoming) string {
		var reply struct {
			Leader string `json:"leader"` // node id; empty when unknown
			URL    string `json:"url"`
		}
		reply.Leader, _ = m.node.Leader()
		if node, ok := s.machine.State().Node(reply.Leader); ok {
			reply.URL = node.APIURL
		}
		if !m.node.IsLeader() {
			in.rc.SetStatusCode(fasthttp.StatusServiceUnavailable)
		}
		in.rc.SetContentType("application/json")
		_ = json.NewEncoder(in.rc).Encode(reply) // writes to memory
		return "leader"
	}
}

// listNodes says where the API of each node is that can serve: of all members
// that were let have the root keys. Clients follow the cluster by it. A node
// says so only while it is ready, so what it says is as old as its lease at
// most: one that was removed, or has no contact, sends nobody anywhere.
func (s *Server) listNodes(m *member) handler {
	ready := readyz(m)
	return func(ctx context.Context, in incoming) string {
		if m.ready.now() != nil {
			ready(ctx, in)
			return "nodes"
		}
		root := s.machine.State()
		reply := wire.NodesReply{Nodes: []wire.NodeAddress{}}
		for _, node := range root.Nodes() {
			if node.RootsApproved != 0 && node.APIURL != "" {
				reply.Nodes = append(reply.Nodes, wire.NodeAddress{ID: node.ID, URL: node.APIURL})
			}
		}
		in.rc.SetContentType("application/json")
		_ = json.NewEncoder(in.rc).Encode(reply) // writes to memory
		return "nodes"
	}
}

// scrape prints the metrics.
func (s *Server) scrape(_ context.Context, in incoming) string {
	in.rc.SetContentType("text/plain; version=0.0.4")
	s.metrics.write(in.rc)
	return "metrics"
}

// quietLogger drops what fasthttp would print: it quotes requests.
type quietLogger struct{}

// Printf implements [fasthttp.Logger].
func (quietLogger) Printf(string, ...any) {}
