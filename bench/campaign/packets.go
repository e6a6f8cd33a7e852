package campaign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// callers is the end of a network of packets from which all calls are made.
const callers = "callers"

// addresses are those that a node's configuration names.
type addresses struct {
	apiListen, api         string
	clusterListen, cluster string
	gossip                 string
}

// addresses of a node whose first port is this one.
func (c *cluster) addresses(id string, port int) addresses {
	if c.packets == nil {
		return addresses{
			apiListen: loopback(port), api: loopback(port),
			clusterListen: loopback(port + clusterPort), cluster: loopback(port + relayPort),
			gossip: loopback(port + gossipPort),
		}
	}
	at := func(port int) string { return netip.AddrPortFrom(c.packets.Address(id), uint16(port)).String() }
	return addresses{
		// kmsd dev asks the node on the loopback address.
		apiListen: "0.0.0.0:" + strconv.Itoa(port), api: at(port),
		clusterListen: at(port + clusterPort), cluster: at(port + clusterPort),
		gossip: at(port + gossipPort),
	}
}

// doorPatience is how long a connection through a door may take: longer than TCP waits
// before it tries a second time.
const doorPatience = 3 * time.Second

// house makes a network of packets, in which all lives of the nodes are. Our client
// can be told no other way to connect than everybody's, so it calls addresses of this
// machine, doors, behind each of which a relay connects to the node as callers do.
func (c *cluster) house() error {
	names := []string{callers}
	for _, p := range c.processes {
		names = append(names, p.ID())
	}
	var err error
	if c.packets, err = nemesis.NewPackets(names...); err != nil {
		return err
	}
	if c.wire, err = os.Create(filepath.Join(c.dir, "packets")); err != nil {
		return err
	}
	c.packets.Record(c.wire, wireRoom)
	dial := c.packets.Dialer(callers)
	c.network.Dial = func(target string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(context.Background(), doorPatience)
		defer cancel()
		return dial(ctx, "tcp", target)
	}
	for _, p := range c.processes {
		p.Settle(c.packets.Space(p.ID()))
	}
	return nil
}

const (
	// wireRoom bounds what is kept of the packets, in bytes.
	wireRoom = 1 << 30
	// spokenOpenly is what nodes say to one another before anything is encrypted:
	// which protocol it will be.
	spokenOpenly = "raftkms-raft/1"
)

// seekOnWire looks for secrets in all packets of nodes and callers.
func (r *run) seekOnWire(n *needles) error {
	c := r.cluster
	if c.wire == nil {
		return nil
	}
	if err := c.packets.Recorded(); err != nil {
		return fmt.Errorf("recording packets: %w", err)
	}
	look := func(n *needles) ([]string, error) {
		if _, err := c.wire.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		return n.in(c.wire)
	}
	open := &needles{byStart: make(map[uint64][]needle)}
	open.put("a protocol", []byte(spokenOpenly))
	if found, err := look(open); err != nil || len(found) == 0 {
		return errors.Join(fmt.Errorf("%w: not one connection between nodes is in the record of packets", ErrTooLittle), err)
	}
	found, err := look(n)
	for _, what := range found {
		r.recorder.Leak(history.Leak{Node: "the network", Where: "a packet", Secret: what})
	}
	return err
}

// foundingSpace is where kmsd dev finds the addresses of all nodes; nil: here.
// The caller closes it.
func (c *cluster) foundingSpace() (*nemesis.Space, error) {
	if c.packets == nil {
		return nil, nil
	}
	var all []netip.Addr
	for _, p := range c.processes {
		all = append(all, c.packets.Address(p.ID()))
	}
	return nemesis.NewSpace(all...)
}

// move has the cluster's file name the addresses that callers reach nodes by.
func (c *cluster) move(port int) {
	if c.packets == nil {
		return
	}
	c.file.Nodes = slices.Clone(c.file.Nodes)
	for i := range c.file.Nodes {
		n := &c.file.Nodes[i]
		n.URL = "https://" + c.addresses(n.ID, port+portsPerNode*i).api
	}
}

// endpoints are where our client calls the nodes.
func (c *cluster) endpoints() []string {
	if c.packets == nil {
		return c.file.URLs()
	}
	return c.doors
}

// links are what carries the messages of the nodes.
func (c *cluster) links() nemesis.Links {
	if c.packets != nil {
		return c.packets
	}
	return c.network
}

// dialer is how callers connect; nil: as everybody does.
func (c *cluster) dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	if c.packets == nil {
		return nil
	}
	return c.packets.Dialer(callers)
}

// lost is how many packets did not arrive.
func (c *cluster) lost() int64 {
	if c.packets == nil {
		return 0
	}
	return c.packets.Lost()
}

// closeLinks ends what carries the messages.
func (c *cluster) closeLinks() error {
	c.network.Close()
	if c.packets == nil {
		return nil
	}
	err := c.packets.Close()
	if c.wire != nil { // it is large, and says no more than the node's own files
		err = errors.Join(err, c.wire.Close(), os.Remove(c.wire.Name()))
	}
	if err != nil {
		return fmt.Errorf("taking the network of packets away: %w", err)
	}
	return nil
}
