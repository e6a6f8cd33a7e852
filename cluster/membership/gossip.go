// Package membership is how nodes find and watch one another by gossip
// (memberlist), and the join token with which a new node finds the cluster.
//
// What it promises: gossip is encrypted and authenticated with a 32-byte key,
// carries the cluster's id as its label, and says where a node was last seen
// and whether it answers.
//
// What it never does: decide anything. Raft's configuration says who is a
// member, mutual TLS says who is who; whoever holds the gossip key can lie here
// and gains nothing but wrong addresses to dial.
package membership

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
)

// KeySize is the length of the gossip key in bytes.
const KeySize = 32

// Times of gossip.
const (
	leaveTimeout = time.Second
	// reclaimAfter is when a node that died may come back under another address.
	reclaimAfter = 10 * time.Second
	// conflictGrace is the default of Options.ConflictGrace.
	conflictGrace = time.Minute
)

// Config is what an operator says about gossip.
type Config struct {
	// ListenAddress is the host:port of gossip, TCP and UDP. Required.
	ListenAddress string
	// AdvertiseAddress is the IP:port by which other nodes reach it; the
	// address listened on when empty.
	AdvertiseAddress string
	// Key is the cluster's gossip key, 32 bytes. Required.
	Key []byte
	// Label keeps clusters apart that share a network; the cluster's id when empty.
	Label string
	// APIURL is told to the other nodes, for their clients; may be empty.
	APIURL string
}

// Format prints everything but the key, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %s key:(not shown) %s %s}", c.ListenAddress, c.AdvertiseAddress, c.Label, c.APIURL)
}

// Options are what the node adds to its configuration.
type Options struct {
	Config
	// NodeID is the node's name in gossip.
	NodeID string
	// ClusterAddress is told to the other nodes.
	ClusterAddress string
	// ConflictGrace is how long two addresses may claim our name before that is
	// fatal: after a restart under another address, others keep telling of the
	// old one until they have noticed. One minute when zero.
	ConflictGrace time.Duration
	// Pace is how often a node is probed; one second when zero. All that gossip does
	// by the clock keeps step with it: a node that is silent is dead after some
	// paces, and forgotten after 30 more.
	Pace time.Duration
	// Fatal is called when another node goes by our name for good.
	Fatal func(error)
	// Logger is where gossip logs.
	Logger *slog.Logger
}

// Peer is a node as gossip sees it.
type Peer struct {
	NodeID         string
	GossipAddress  string // IP:port
	ClusterAddress string // host:port; empty when it could not be read
	APIURL         string
}

// Gossip is a node's part in the gossip.
type Gossip struct {
	list *memberlist.Memberlist
	meta []byte

	ringMu sync.Mutex // held while the ring is changed
	ring   *memberlist.Keyring

	mu       sync.Mutex
	alive    map[string]Peer // by node id, ourselves among them
	conflict time.Time       // since when another address claims our name, with pauses of grace at most ...
	latest   time.Time       // ... and when it did last
	grace    time.Duration
	fatal    func(error)
	nodeID   string
	log      *slog.Logger
}

// meta is what a node says of itself, at most 512 bytes.
type meta struct {
	ClusterAddress string `json:"c"`
	APIURL         string `json:"a,omitempty"`
}

// Open starts to gossip; [Gossip.Join] finds the others.
func Open(o Options) (*Gossip, error) {
	if len(o.Key) != KeySize {
		return nil, fmt.Errorf("the gossip key has %d bytes instead of %d", len(o.Key), KeySize)
	}
	encoded, err := json.Marshal(meta{ClusterAddress: o.ClusterAddress, APIURL: o.APIURL})
	if err != nil {
		return nil, fmt.Errorf("encoding what gossip tells: %w", err)
	}
	if len(encoded) > memberlist.MetaMaxSize {
		return nil, errors.New("the addresses that this node advertises are too long for gossip (500 bytes in all)")
	}
	g := &Gossip{meta: encoded, fatal: o.Fatal, nodeID: o.NodeID, grace: o.ConflictGrace, log: o.Logger, alive: make(map[string]Peer)}
	if g.grace == 0 {
		g.grace = conflictGrace
	}
	config, err := o.memberlist(g)
	if err != nil {
		return nil, err
	}
	g.list, err = memberlist.Create(config)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) || err != nil && bytes.Contains([]byte(err.Error()), []byte("address already in use")):
		return nil, fmt.Errorf("the gossip port %s is in use by another process", o.ListenAddress)
	case err != nil:
		return nil, fmt.Errorf("opening the gossip port: %w", err)
	}
	return g, nil
}

func (o Options) memberlist(g *Gossip) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	if o.Pace != 0 {
		scale := func(d *time.Duration) { *d = time.Duration(float64(*d) * o.Pace.Seconds()) }
		for _, d := range []*time.Duration{&c.ProbeInterval, &c.ProbeTimeout, &c.GossipInterval, &c.GossipToTheDeadTime, &c.PushPullInterval} {
			scale(d)
		}
	}
	var err error
	if c.BindAddr, c.BindPort, err = splitAddress(o.ListenAddress); err != nil {
		return nil, err
	}
	c.AdvertiseAddr, c.AdvertisePort = "", c.BindPort
	if o.AdvertiseAddress != "" {
		if c.AdvertiseAddr, c.AdvertisePort, err = splitAddress(o.AdvertiseAddress); err != nil {
			return nil, err
		}
	}
	c.Name = o.NodeID
	c.Label = o.Label
	if g.ring, err = memberlist.NewKeyring(nil, bytes.Clone(o.Key)); err != nil {
		return nil, err
	}
	c.Keyring = g.ring
	c.GossipVerifyIncoming, c.GossipVerifyOutgoing = true, true
	c.EnableCompression = false // v0.6.0 does not bound what it unpacks
	c.UDPBufferSize = 1400
	c.RequireNodeNames = true
	c.DeadNodeReclaimTime = reclaimAfter
	c.MsgpackUseNewTimeFormat = true
	c.Delegate, c.Events, c.Conflict = g, g, g
	c.Logger = log.New(levelWriter{o.Logger.With("from", "gossip")}, "", 0)
	c.LogOutput = nil
	return c, nil
}

func splitAddress(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("the gossip address %.100q is not host:port", address)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("the gossip address %.100q has no valid port", address)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}

// Join contacts a node at its gossip address and learns of the others. The name
// only satisfies memberlist: nothing checks who answers, but that they hold the key.
func (g *Gossip) Join(nodeID, address string) error {
	if _, err := g.list.Join([]string{nodeID + "/" + address}); err != nil {
		return fmt.Errorf("joining the gossip at node %s: %w", nodeID, err)
	}
	return nil
}

// Address is the IP:port by which other nodes reach this node's gossip.
func (g *Gossip) Address() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.alive[g.nodeID].GossipAddress
}

// Peers are the other nodes that are not known to be dead or gone, by name.
func (g *Gossip) Peers() []Peer {
	g.mu.Lock()
	defer g.mu.Unlock()
	peers := make([]Peer, 0, len(g.alive))
	for id, peer := range g.alive {
		if id != g.nodeID {
			peers = append(peers, peer)
		}
	}
	slices.SortFunc(peers, func(a, b Peer) int { return strings.Compare(a.NodeID, b.NodeID) })
	return peers
}

// NotifyJoin is called by memberlist, as the next two are, under its own lock:
// its list of nodes may not be read without it.
func (g *Gossip) NotifyJoin(n *memberlist.Node) {
	p := Peer{NodeID: n.Name, GossipAddress: n.Address()}
	var m meta
	if json.Unmarshal(n.Meta, &m) == nil {
		p.ClusterAddress, p.APIURL = m.ClusterAddress, m.APIURL
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive[n.Name] = p
}

// NotifyUpdate notes what a node says of itself now.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.NotifyJoin(n) }

// NotifyLeave forgets a node that died or left.
func (g *Gossip) NotifyLeave(n *memberlist.Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.Name != g.nodeID {
		delete(g.alive, n.Name)
	}
}

// Close says farewell, so that others do not take us for dead, and stops. If
// nobody hears the farewell, others find out by themselves.
func (g *Gossip) Close() error {
	if err := g.list.Leave(leaveTimeout); err != nil {
		g.log.Debug("leaving the gossip", "err", err)
	}
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("closing the gossip: %w", err)
	}
	return nil
}

// NodeMeta is called by memberlist.
func (g *Gossip) NodeMeta(int) []byte { return g.meta }

// NotifyMsg, GetBroadcasts, LocalState and MergeRemoteState complete
// memberlist's Delegate; nodes tell one another nothing but that they are there.
func (g *Gossip) NotifyMsg([]byte) {}

// GetBroadcasts is empty, see NotifyMsg.
func (g *Gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is empty, see NotifyMsg.
func (g *Gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState does nothing, see NotifyMsg.
func (g *Gossip) MergeRemoteState([]byte, bool) {}

// NotifyConflict is called by memberlist when one name comes with two
// addresses. On our own name it is fatal, but not at once: after a restart
// under another address the others still tell of the old one for a while. One
// that goes by our name for good is heard of every 30 paces, when nodes exchange
// all that they know: conflicts that are further apart than the grace have
// nothing to do with one another.
func (g *Gossip) NotifyConflict(existing, other *memberlist.Node) {
	if existing.Name != g.nodeID {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.latest) > g.grace {
		g.conflict = now
	}
	g.latest = now
	if now.Sub(g.conflict) > g.grace {
		g.fatal(fmt.Errorf("another node at %s goes by the name %s", other.Address(), g.nodeID))
	}
}

// levelWriter turns memberlist's lines ("[WARN] memberlist: ...") into levels.
type levelWriter struct{ log *slog.Logger }

func (w levelWriter) Write(line []byte) (int, error) {
	text := bytes.TrimSpace(line)
	level := slog.LevelInfo
	for prefix, l := range map[string]slog.Level{
		"[DEBUG] ": slog.LevelDebug, "[INFO] ": slog.LevelInfo, "[WARN] ": slog.LevelWarn, "[ERR] ": slog.LevelError, "[ERROR] ": slog.LevelError,
	} {
		if rest, ok := bytes.CutPrefix(text, []byte(prefix)); ok {
			level, text = l, rest
			break
		}
	}
	w.log.Log(context.Background(), level, string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	return len(line), nil
}
