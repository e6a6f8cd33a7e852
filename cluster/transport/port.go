package transport

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Bounds of the cluster port.
const (
	handshakeTimeout   = 5 * time.Second
	maxPendingConns    = 128 // handshakes under way; a further one ends the oldest
	minRefusalInterval = time.Second
)

// keepAlive finds peers that vanished without a word in about 15 seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 6 * time.Second, Interval: 3 * time.Second, Count: 3}

// PortConfig is what a cluster port is made of.
type PortConfig struct {
	// Identity is who this node is. Required.
	Identity *Identity
	// Listener accepts the port's TCP connections; the port closes it. Required.
	Listener net.Listener
	// Advertise is the host:port by which other nodes reach the port. Required.
	Advertise string
	// Resolve returns a further address of a node, to be tried when the one
	// asked for does not answer; empty when none is known. Optional.
	Resolve func(nodeID string) string
	// Logger is where refused connections are told of. Required.
	Logger *slog.Logger
}

// Port is an open cluster port.
type Port struct {
	cfg    PortConfig
	raft   *queue
	rpc    *queue
	join   joiners
	ctx    context.Context // ends when the port is closed
	cancel context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup

	mu          sync.Mutex
	pending     *list.List         // *conn in handshake, oldest first
	conns       map[*conn]struct{} // all that are open, accepted and dialled
	lastRefusal atomic.Int64       // when one was last logged, Unix nanoseconds
}

// Listen opens the TCP port at address; a port in use is named in the error.
func Listen(address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := config.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the cluster port %s is in use by another process", address)
	case err != nil:
		return nil, fmt.Errorf("opening the cluster port: %w", err)
	}
	return l, nil
}

// OpenPort starts to accept connections.
func OpenPort(cfg PortConfig) *Port {
	p := &Port{
		cfg:     cfg,
		pending: list.New(),
		conns:   make(map[*conn]struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.raft = &queue{port: p, conns: make(chan net.Conn)}
	p.rpc = &queue{port: p, conns: make(chan net.Conn)}
	p.join.init()
	p.wg.Go(p.accept)
	return p
}

// Close stops accepting, closes all connections, whoever made them and for
// what, and waits for what the port started.
func (p *Port) Close() {
	p.once.Do(func() {
		p.cancel()
		p.cfg.Listener.Close()
		p.mu.Lock()
		open := slices.Collect(maps.Keys(p.conns))
		p.mu.Unlock()
		for _, c := range open {
			c.Close()
		}
	})
	p.wg.Wait()
}

func (p *Port) accept() {
	config := p.cfg.Identity.TLSConfigServer()
	for {
		raw, err := p.cfg.Listener.Accept()
		if err != nil {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(20 * time.Millisecond): // out of file descriptors, mostly
				p.refused("", err)
				continue
			}
		}
		c := p.track(raw)
		element := p.begin(c)
		p.wg.Go(func() { p.serve(tls.Server(c, config), element) })
	}
}

// begin counts a connection as pending, at the price of the oldest one when
// there are too many: honest handshakes take milliseconds.
func (p *Port) begin(c *conn) *list.Element {
	p.mu.Lock()
	var oldest *list.Element
	if p.pending.Len() >= maxPendingConns {
		oldest = p.pending.Front()
		p.pending.Remove(oldest)
	}
	element := p.pending.PushBack(c)
	p.mu.Unlock()
	if oldest != nil {
		oldest.Value.(*conn).Close()
	}
	return element
}

func (p *Port) serve(conn *tls.Conn, pending *list.Element) {
	ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
	err := conn.HandshakeContext(ctx)
	cancel()
	p.mu.Lock()
	p.pending.Remove(pending)
	p.mu.Unlock()
	if err != nil {
		p.refused(conn.RemoteAddr().String(), err)
		conn.Close()
		return
	}
	switch conn.ConnectionState().NegotiatedProtocol {
	case protocolRaft:
		p.raft.offer(conn)
	case protocolRPC:
		p.rpc.offer(conn)
	case protocolJoin:
		p.serveJoin(conn)
	default: // no protocol offered
		conn.Close()
	}
}

// refused logs a refused connection, at most one a second: whoever reaches the
// port can be refused as often as they like.
func (p *Port) refused(remote string, err error) {
	if p.ctx.Err() != nil { // we are closing
		return
	}
	last := p.lastRefusal.Load() // before the clock is looked at, which it is ahead of only where that was set back
	now := time.Now().UnixNano()
	if passed := now - last; 0 <= passed && passed < int64(minRefusalInterval) || !p.lastRefusal.CompareAndSwap(last, now) {
		return
	}
	p.cfg.Logger.Warn("refused a connection to the cluster port", "remote", remote, "err", err)
}

// dial connects to a node and no other, at address or else where [PortConfig]
// Resolve says.
func (p *Port) dial(ctx context.Context, nodeID, address, protocol string) (*tls.Conn, error) {
	conn, err := p.dialAt(ctx, nodeID, address, protocol)
	if err == nil || p.cfg.Resolve == nil {
		return conn, err
	}
	other := p.cfg.Resolve(nodeID)
	if other == "" || other == address {
		return nil, err
	}
	if conn, second := p.dialAt(ctx, nodeID, other, protocol); second == nil {
		return conn, nil
	}
	return nil, err
}

func (p *Port) dialAt(ctx context.Context, nodeID, address, protocol string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting to node %s: %w", nodeID, err)
	}
	conn := tls.Client(p.track(raw), p.cfg.Identity.TLSConfigClient(nodeID, protocol))
	if err := conn.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting to node %s at %s: %w", nodeID, address, err)
	}
	return conn, nil
}

// Answers returns nil when the node of that name, and no other, answers at an
// address (host:port). It needs no port of the caller's own.
func Answers(ctx context.Context, id *Identity, nodeID, address string) error {
	dialer := tls.Dialer{Config: id.TLSConfigClient(nodeID, protocolRPC)}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("looking for node %s at %s: %w", nodeID, address, err)
	}
	return conn.Close()
}

// conn is a TCP connection that the port knows of while it is open: neither
// Raft nor HTTP closes all of theirs in the end.
type conn struct {
	net.Conn
	port *Port
}

func (p *Port) track(raw net.Conn) *conn {
	c := &conn{Conn: raw, port: p}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	if p.ctx.Err() != nil { // Close may have looked before we were there
		c.Close()
	}
	return c
}

// Read ends quietly when the port is closed.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.port.ctx.Err() != nil {
		err = io.EOF
	}
	return n, err
}

func (c *conn) Close() error {
	c.port.mu.Lock()
	delete(c.port.conns, c)
	c.port.mu.Unlock()
	return c.Conn.Close()
}

// queue is the listener of one protocol: it hands out connections whose
// handshake is done.
type queue struct {
	port  *Port
	conns chan net.Conn
}

func (q *queue) offer(conn net.Conn) {
	select {
	case q.conns <- conn:
	case <-q.port.ctx.Done():
		conn.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.port.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close does nothing: the port is closed as a whole.
func (q *queue) Close() error { return nil }

func (q *queue) Addr() net.Addr { return advertised(q.port.cfg.Advertise) }

// advertised is the address that other nodes use, which Raft must be given
// instead of the one listened on.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
