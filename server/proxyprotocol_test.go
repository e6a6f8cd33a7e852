package server

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/goleak"
)

// A balancer's header names the client; nobody else's does.
func TestProxyListener(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	open := func(trusted string) (*proxyListener, func(text []byte) net.Conn) {
		inner, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := listenProxied(inner, []netip.Prefix{netip.MustParsePrefix(trusted)})
		return l, func(text []byte) net.Conn {
			conn, err := net.Dial("tcp", inner.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(text); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
	}
	header, err := (&proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1000}, DestinationAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 8), Port: 443},
	}).Format()
	if err != nil {
		t.Fatal(err)
	}

	l, dial := open("127.0.0.0/8")
	dial(nil) // says nothing, and holds up nobody
	refused := dial([]byte("GET / HTTP/1.1\r\n\r\n"))
	dial(append(header, "hello"...))
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().String(); got != "192.0.2.7:1000" {
		t.Errorf("the client's address is %s", got)
	}
	rest := make([]byte, 5)
	if _, err := io.ReadFull(conn, rest); err != nil || string(rest) != "hello" {
		t.Errorf("behind the header: %q, %v", rest, err)
	}
	conn.Close()
	refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(refused); err != nil { // closed, or reset: not a time-out
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Error("a balancer's connection without a header was kept")
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("accepted after Close")
	}

	l, dial = open("192.0.2.0/24")
	dial(append(header, "hello"...))
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	if got := conn.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.1" {
		t.Errorf("a client chose the address %s", got)
	}
	conn.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
