package transport

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// streamLayer is Raft's view of the port. An address that it dials carries the
// node to expect there, see [pinned].
type streamLayer struct{ *queue }

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
