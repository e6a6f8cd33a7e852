package nemesis

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Network carries what the nodes send to one another over TCP, so that it can
// be cut: each node advertises the address of a relay instead of its own. A cut
// direction holds the bytes back without breaking connections, as a network
// does that drops packets; healed, it delivers them. New connections are
// accepted and get no further.
type Network struct {
	// Source says which node a connection comes from, by its remote address;
	// empty: unknown, then it is never cut.
	source func(*net.TCPAddr) string

	mu        sync.Mutex
	gates     map[direction]*gate
	listeners []net.Listener
	conns     map[net.Conn]struct{}
	closed    bool

	all      sync.WaitGroup
	unknowns atomic.Int64
}

// direction is from one node to another.
type direction struct{ from, to string }

// NewNetwork makes a network without relays. source says which node has
// connected from an address, and "" if it does not know.
func NewNetwork(source func(*net.TCPAddr) string) *Network {
	return &Network{source: source, gates: make(map[direction]*gate), conns: make(map[net.Conn]struct{})}
}

// Relay listens on an address and carries what arrives to the node's own.
func (n *Network) Relay(node, listen, target string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("relaying to %s: %w", node, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.Join(net.ErrClosed, listener.Close())
	}
	n.listeners = append(n.listeners, listener)
	n.all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			n.all.Go(func() { n.carry(conn, node, target) })
		}
	})
	return nil
}

// Unknown is how many connections came from no known node.
func (n *Network) Unknown() int64 { return n.unknowns.Load() }

// Cut holds back what goes from one node to another.
func (n *Network) Cut(from, to string) { n.gate(direction{from, to}).shut() }

// Heal opens all directions.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.gates {
		g.open()
	}
}

// Close ends the relays and all connections, and waits until they are gone.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	for _, l := range n.listeners {
		l.Close()
	}
	for conn := range n.conns {
		conn.Close()
	}
	for _, g := range n.gates {
		g.open()
	}
	n.mu.Unlock()
	n.all.Wait()
}

func (n *Network) gate(d direction) *gate {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gates[d] == nil {
		n.gates[d] = newGate()
	}
	return n.gates[d]
}

// keep has Close close a connection; it returns false when it is too late.
func (n *Network) keep(conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.conns[conn] = struct{}{}
	}
	return !n.closed
}

func (n *Network) drop(conn net.Conn) {
	n.mu.Lock()
	delete(n.conns, conn)
	n.mu.Unlock()
	conn.Close()
}

// carry connects one connection through to the target.
func (n *Network) carry(conn net.Conn, node, target string) {
	defer n.drop(conn)
	if !n.keep(conn) {
		return
	}
	from := n.source(conn.RemoteAddr().(*net.TCPAddr))
	if from == "" {
		n.unknowns.Add(1)
	}
	out, in := n.gate(direction{from, node}), n.gate(direction{node, from})
	out.pass()
	onward, err := net.Dial("tcp", target)
	if err != nil {
		return // the node is down: so is the connection
	}
	defer n.drop(onward)
	if !n.keep(onward) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { pump(conn, onward, in) })
	pump(onward, conn, out)
	back.Wait()
}

// pump copies until one side ends, and then ends both: what a node that is
// gone has not received is lost.
func pump(to, from net.Conn, g *gate) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		size, err := from.Read(buf)
		g.pass()
		if _, failed := to.Write(buf[:size]); failed != nil {
			return
		}
		if err != nil {
			return // mostly io.EOF
		}
	}
}

// gate lets things pass while it is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *gate) pass() {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	<-opened
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		g.opened = make(chan struct{})
	default:
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}
