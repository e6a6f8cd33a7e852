package nemesis

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Network carries what the nodes send to one another over TCP, so that it can
// be cut: each node advertises the address of a relay instead of its own. A cut
// direction holds the bytes back without breaking connections, as a network
// does that drops packets; healed, it delivers them. New connections are
// accepted and get no further.
type Network struct {
	// Dial connects to the target of a relay; nil: over TCP, from where this process
	// is. It is set before the first relay.
	Dial func(target string) (net.Conn, error)

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

// Cut implements [Links].
func (n *Network) Cut(from, to string) { n.gate(direction{from, to}).shut() }

// Impair implements [Links]. What is carried here has arrived once already, so
// a loss is what TCP makes of one: everything behind it waits until it was sent
// again, which takes twice as long with every loss in a row.
func (n *Network) Impair(from, to string, by Impairment) { n.gate(direction{from, to}).impair(by) }

// Mend implements [Links].
func (n *Network) Mend(from, to string) { n.gate(direction{from, to}).open() }

// Heal implements [Links].
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
	dial := n.Dial
	if dial == nil {
		dial = func(target string) (net.Conn, error) { return net.Dial("tcp", target) }
	}
	onward, err := dial(target)
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

// chunk is what was read at once, and when it is due.
type chunk struct {
	bytes []byte
	due   time.Time
}

const (
	chunkBytes = 32 << 10
	maxChunks  = 64 // that are under way in one direction of one connection
)

// pump copies until one side ends, and then ends both: what a node that is
// gone has not received is lost.
func pump(to, from net.Conn, g *gate) {
	under := make(chan chunk, maxChunks)
	var writing sync.WaitGroup
	writing.Go(func() {
		defer to.Close()
		defer from.Close()
		failed := false
		for c := range under {
			if failed {
				continue
			}
			time.Sleep(time.Until(c.due))
			g.pass()
			_, err := to.Write(c.bytes)
			if failed = err != nil; failed {
				to.Close()
				from.Close()
			}
		}
	})
	buf := make([]byte, chunkBytes)
	for {
		size, err := from.Read(buf)
		if size > 0 {
			under <- chunk{bytes.Clone(buf[:size]), g.due()}
		}
		if err != nil {
			break // mostly io.EOF
		}
	}
	close(under)
	writing.Wait()
}

// gate lets things pass while it is open, when they are due.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
	by     Impairment
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

// firstRetry is how long TCP waits at least before it sends again.
const firstRetry = 200 * time.Millisecond

// due is when what comes now is to go on.
func (g *gate) due() time.Time {
	g.mu.Lock()
	by := g.by
	g.mu.Unlock()
	wait := by.Delay
	if by.Jitter > 0 {
		wait += rand.N(by.Jitter)
	}
	for retry := firstRetry; rand.Float64() < by.Loss && retry < 16*firstRetry; retry *= 2 {
		wait += retry
	}
	return time.Now().Add(wait)
}

func (g *gate) impair(by Impairment) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.by = by
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

// open opens the gate and lets everything through at once.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.by = Impairment{}
	select {
	case <-g.opened:
	default:
		close(g.opened)
	}
}
