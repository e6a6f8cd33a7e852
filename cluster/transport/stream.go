package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/pki"
)

// streamLayer is Raft's view of the port. An address that it dials carries the
// node to expect there, see [pinned].
type streamLayer struct {
	*queue
	stall time.Duration // how long a message that has begun may stay away
}

// pinned is the address of a node together with its name, so that Dial knows
// whose certificate to ask for.
func pinned(id raft.ServerID, address raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + "@" + string(address))
}

// Dial connects to the node named in a [pinned] address.
func (s streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	nodeID, hostPort, ok := strings.Cut(string(address), "@")
	if !ok {
		return nil, fmt.Errorf("dialling %s: it does not say which node is expected there", address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.port.dial(ctx, nodeID, hostPort, protocolRaft)
	if err != nil {
		return nil, err // a nil *tls.Conn must not become a non-nil net.Conn
	}
	return conn, nil
}

// Accept returns the next connection of a peer that speaks Raft.
func (s streamLayer) Accept() (net.Conn, error) {
	conn, err := s.queue.Accept()
	if err != nil {
		return nil, err
	}
	c := &inbound{Conn: conn.(*tls.Conn), port: s.port, stall: s.stall}
	if _, c.peer, err = pki.NodeName(c.ConnectionState().PeerCertificates[0]); err != nil {
		c.Close() // cannot be: the handshake looked at the name
		return nil, err
	}
	return c, nil
}

// inbound is a connection on which a peer speaks Raft to this node, for as long as
// it may lead: that is asked of whatever comes, as it may change meanwhile.
//
// Between two messages it may be silent for ever: peers keep connections, and a
// candidate that found its own closed would lose the vote that it asks for first.
// In a message it may not. Raft reads a snapshot on its main loop, and a leader
// that is stopped half-way, and whose kernel still answers, would keep this node
// from voting for another one until it goes on.
//
// A message begins with the first bytes after an answer: whoever sends one before
// the last is answered puts it into TLS records of its own, and a Read returns no
// more than one record.
type inbound struct {
	*tls.Conn
	port  *Port
	peer  string // its certificate's name
	stall time.Duration
	begun bool // a message; goroutines hand the connection on to one another, they do not share it
}

func (c *inbound) Read(b []byte) (int, error) {
	var deadline time.Time
	if c.begun {
		deadline = time.Now().Add(c.stall)
	}
	c.SetReadDeadline(deadline)
	n, err := c.Conn.Read(b)
	c.begun = c.begun || n > 0
	if n > 0 && c.port.cfg.MayLead != nil && !c.port.cfg.MayLead(c.peer) {
		c.NetConn().Close()
		c.port.refused(c.RemoteAddr().String(), fmt.Errorf("node %s has no vote, so it can neither lead nor be elected", c.peer))
		return 0, io.EOF // raft logs any other error, as often as the peer likes
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.NetConn().Close() // raft reads what is left of a snapshot, also after an error
		err = fmt.Errorf("nothing has come for %s in the middle of a message: %w", c.stall, err)
	}
	return n, err
}

// Write sends an answer, or a part of it.
func (c *inbound) Write(b []byte) (int, error) {
	c.begun = false
	return c.Conn.Write(b)
}
