package gate

import (
	"net"
	"net/netip"
	"sync"
)

// connections counts the open ones of each address.
type connections struct {
	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

// Listen returns a listener that closes the connections that are too many of
// one address at once, unanswered. The address is the one that the listener's
// connections say they are from: the client's, where a balancer names it.
func (g *Gate) Listen(listener net.Listener) net.Listener {
	return &bounded{Listener: listener, gate: g}
}

type bounded struct {
	net.Listener
	gate *Gate
}

// Accept implements [net.Listener].
func (l *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil
		}
		address := Client(from.AddrPort().Addr())
		if !l.gate.connections.take(address) {
			l.gate.counts[Connections].Add(1)
			conn.Close()
			continue
		}
		return &counted{Conn: &lazy{Conn: conn}, back: func() { l.gate.connections.giveBack(address) }}, nil
	}
}

func (c *connections) take(address netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[address] >= c.most {
		return false
	}
	c.open[address]++
	return true
}

func (c *connections) giveBack(address netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[address]--; c.open[address] == 0 {
		delete(c.open, address)
	}
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	once sync.Once
	back func()
}

// Close implements [net.Conn].
func (c *counted) Close() error {
	defer c.once.Do(c.back)
	return c.Conn.Close()
}
