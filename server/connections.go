package server

import (
	"net"
	"sync"
)

// connections are those of the API port that are open. A node that must not go on
// lets go of all of them, see shutDown.
type connections struct {
	mu     sync.Mutex
	open   map[*connection]struct{}
	closed bool
}

// connection is one of them; its first Close strikes it off.
type connection struct {
	net.Conn
	of *connections
}

// noting is a listener whose connections are noted.
type noting struct {
	net.Listener
	in *connections
}

// listen returns a listener that notes what it accepts.
func (c *connections) listen(listener net.Listener) net.Listener { return noting{listener, c} }

// Accept implements [net.Listener].
func (n noting) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return n.in.note(conn), nil
}

func (c *connections) note(conn net.Conn) net.Conn {
	own := &connection{conn, c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return own
	}
	if c.open == nil {
		c.open = make(map[*connection]struct{})
	}
	c.open[own] = struct{}{}
	return own
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// close closes all of them, and those that come later.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		conn.Conn.Close()
	}
	c.open = nil
}
