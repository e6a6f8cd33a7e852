package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

const (
	// proxyHeaderTimeout bounds the wait for a balancer's header.
	proxyHeaderTimeout = 5 * time.Second
	// maxProxyPending bounds the connections that have not sent it yet.
	maxProxyPending = 1024
)

// proxyListener takes the client's address from the PROXY protocol header
// (versions 1 and 2, HAProxy's specification of it) that balancers put in front
// of a connection. From the addresses it trusts the header is required, since a
// connection without it would be traced under the balancer's name; from all
// others it is not read, so that no client can choose the address it is
// traced under.
//
// Headers are waited for beside Accept, each with a deadline: a balancer that
// opens a connection and says nothing holds up nobody else.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix

	ready   chan net.Conn
	pending chan struct{} // one element per header that is waited for
	ctx     context.Context
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	err     error // why accepting ended; set before ready is closed
}

// listenProxied wraps a listener; trusted are the balancers' addresses.
func listenProxied(listener net.Listener, trusted []netip.Prefix) *proxyListener {
	l := &proxyListener{
		Listener: listener, trusted: trusted,
		ready: make(chan net.Conn), pending: make(chan struct{}, maxProxyPending),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	l.tasks.Go(l.run)
	return l
}

// run accepts until the listener is closed.
func (l *proxyListener) run() {
	defer close(l.ready)
	var headers sync.WaitGroup
	defer headers.Wait()
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			l.stop()
			return
		}
		if !l.trusts(conn.RemoteAddr()) {
			l.hand(conn)
			continue
		}
		select {
		case l.pending <- struct{}{}:
		case <-l.ctx.Done():
			conn.Close()
			continue
		}
		headers.Go(func() {
			defer func() { <-l.pending }()
			proxied := proxyproto.NewConn(conn, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(proxyHeaderTimeout))
			if proxied.ProxyHeader() == nil { // waits for it
				conn.Close()
				return
			}
			l.hand(proxied)
		})
	}
}

// hand gives a connection to Accept.
func (l *proxyListener) hand(conn net.Conn) {
	select {
	case l.ready <- conn:
	case <-l.ctx.Done():
		conn.Close()
	}
}

func (l *proxyListener) trusts(address net.Addr) bool {
	from, ok := address.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := from.AddrPort().Addr().Unmap()
	for _, prefix := range l.trusted {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// Accept implements [net.Listener].
func (l *proxyListener) Accept() (net.Conn, error) {
	conn, ok := <-l.ready
	if !ok {
		return nil, fmt.Errorf("accepting behind a balancer: %w", l.err)
	}
	return conn, nil
}

// Close implements [net.Listener]; it waits for its goroutines.
func (l *proxyListener) Close() error {
	err := l.Listener.Close()
	l.stop()
	l.tasks.Wait()
	return err
}
