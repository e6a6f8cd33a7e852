package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
)

// MaxCommand is the largest command in bytes. Larger ones would hold up the
// heartbeats behind them.
const MaxCommand = 512 << 10

// Entry is one committed log entry. Empty Data is a mark without meaning to the
// state machine (a read barrier or a change of members); it still counts in
// AppliedIndex.
type Entry struct {
	Index uint64 // position in the log; entries come in its order, with gaps
	Term  uint64 // Raft term in which the entry was proposed
	Data  []byte // the command; not to be kept or changed after Apply returns
}

// Reply is what the state machine answers to an entry.
type Reply struct {
	Data []byte
	// Fence is an index that must be released before anybody is told this: that
	// of the entry itself when nobody may answer from a state before it any more,
	// or of an earlier one of that kind that the reply follows from. Zero: none.
	Fence uint64
}

// StateMachine is what commands are replicated into. It must be deterministic:
// the same entries make the same state and the same replies on every node.
type StateMachine interface {
	// Apply applies entries in their order and returns one reply for each. It is called from one goroutine at a time. An error is
	// fatal: the node stops, for it would differ from the others.
	Apply(entries []Entry) (replies []Reply, err error)
	// Snapshot pins the state as it is now, at once; WriteTo runs beside later
	// calls of Apply. It is not called beside Apply. If the result is an
	// io.Closer, Close unpins it.
	Snapshot() (io.WriterTo, error)
	// Restore replaces the whole state by that of a snapshot, or leaves it as
	// it is and returns an error.
	Restore(r io.Reader) error
	// AppliedIndex is the index of the last entry applied or, if that is
	// later, of the snapshot restored. It may be called at any time.
	AppliedIndex() uint64
}

// Timing are the durations that decide how soon a lost leader is replaced. Zero
// means the default.
type Timing struct {
	Heartbeat        time.Duration // without word from a leader, a follower asks for an election; 500 ms
	Election         time.Duration // how long a candidate waits for votes; 500 ms, at least Heartbeat
	LeaderLease      time.Duration // a leader that reaches no majority for that long steps down; 250 ms, at most Heartbeat
	Commit           time.Duration // an idle leader repeats the commit index that often; 50 ms
	Request          time.Duration // limit of one Raft request, and of silence in the middle of one; 5 s (snapshots: as much again per 256 KiB)
	SlowWrite        time.Duration // a log write that takes longer is fatal; 10 s
	SnapshotInterval time.Duration // how often to see whether a snapshot is due; 30 s
	Autopilot        time.Duration // how often a leader looks at its members; 500 ms
	Stable           time.Duration // how long a newcomer must have been caught up before it gets a vote; 2 s
	Dead             time.Duration // how long a voter must have been silent before it may lose its vote, see autopilot; 10 min, never when negative
	Rejoin           time.Duration // how often gossip looks for members it has lost; 30 s
	Gossip           time.Duration // how often gossip probes a node; 1 s (dead ones are forgotten after 30 of it)
	TakeOver         time.Duration // how long a new leader may need until it is ready; after that it hands leadership on; 20 s

	Lease   time.Duration // a serving lease; what a fence waits for a member that is silent; 3 s
	Margin  time.Duration // by which the holder of a lease stops earlier; a fifth of Lease
	Renewal time.Duration // how often a lease is renewed; 500 ms
}

// Config is what a node is made of. Fields without a default are required.
type Config struct {
	// NodeID and ClusterID name the node; they must be those of Identity.
	NodeID, ClusterID string
	// DataDir is the node's directory; everything here is kept in raft/ under it.
	DataDir string
	// Identity is the node's certificate and the cluster's CAs.
	Identity *transport.Identity

	// Listener is the cluster port when the caller has opened it; Open takes it
	// over, even when it fails. Else ListenAddress (host:port) is opened.
	Listener      net.Listener
	ListenAddress string
	// AdvertiseAddress is the host:port by which other nodes reach the cluster
	// port; that of the listener when empty.
	AdvertiseAddress string
	// Gossip says how nodes watch one another; see membership.Config.
	Gossip membership.Config

	// Timing has a default for every zero field.
	Timing Timing
	// SnapshotThreshold is how many entries make a new snapshot worth while;
	// 8192 when zero.
	SnapshotThreshold uint64
	// TrailingLogs is how many entries are kept behind a snapshot for followers
	// that are behind; 10240 when zero. NoTrailingLogs means none.
	TrailingLogs uint64

	// Reads is how this node finds read points while it leads; ReadIndex when
	// zero.
	Reads Reads

	// Prepare is called on the leader just before a command is proposed, with
	// the leader's clock as far as most voters vouch for it (zero until they
	// have), and returns the command to propose; it stamps what
	// only the leader may decide. Everything that earlier leaders had committed
	// has been applied when it is called. Calls run side by side, so stamps of
	// neighbouring entries may be out of order by a little. An error refuses
	// the command (not done); a RemoteError also reaches a forwarding node. Optional.
	Prepare func(data []byte, leaderTime time.Time) ([]byte, error)
	// Promotable is asked by the leader, time and again (Timing.Autopilot), until
	// a newcomer has a vote; false puts it off. It may ask the newcomer: while it
	// blocks, nobody gets or loses a vote, and the node is not closed. Optional.
	Promotable func(nodeID string) bool
	// Admitted is asked at every handshake with a node of the cluster, whoever
	// called whom; false refuses it. spki is the SHA-256 of its public key, issued
	// when its certificate was signed. A node that is still empty, or whose state
	// is old, must answer true for a leader that its state does not know yet, or
	// it will never learn who is admitted. It may not block. Optional.
	Admitted func(nodeID string, spki [32]byte, issued time.Time) bool
	// MayPropose is asked by the leader of every command that another member
	// sends it; false refuses it. A member that only replicates must not be able
	// to change the state that it receives; mayLead keeps it from doing so as a
	// leader, of nodes whose state is current. It may not block. Optional.
	MayPropose func(nodeID string) bool
	// Clock counts time since some moment, suspended time included; CLOCK_BOOTTIME
	// when nil.
	Clock func() time.Duration
	// Now is the wall clock; time.Now when nil. A monotonic reading that comes
	// with it is not used.
	Now func() time.Time
	// Fenced is told how long each wait for a released index took. It may not
	// block. Optional.
	Fenced func(took time.Duration)
	// Fatal is told, once, why this node cannot go on; the node has stopped
	// taking work, and the process should end. It may be called before Open
	// returns and must not call Close itself.
	Fatal func(error)
	// Metrics is given raft's metrics. The registry behind it is one per
	// process: the last node opened with it wins. Optional.
	Metrics Sink
	// Logger is where the node logs. It should neither block nor be unbounded.
	Logger *slog.Logger
}

// Reads is how a leader finds the read point of a [Node.Barrier]; see
// readindex.go. Both are linearizable, and members need not agree.
type Reads uint8

// Ways to find a read point.
const (
	ReadIndex Reads = iota // a round of heartbeats to a majority; nothing is written
	LogMark                // an empty entry in the log; slower, and simpler to believe in
)

// NoTrailingLogs as Config.TrailingLogs keeps no entries behind a snapshot.
const NoTrailingLogs = ^uint64(0)

// fill puts defaults into zero fields.
func (c *Config) fill() {
	or := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	t := &c.Timing
	or(&t.Heartbeat, 500*time.Millisecond)
	or(&t.Election, 500*time.Millisecond)
	or(&t.LeaderLease, 250*time.Millisecond)
	or(&t.Commit, 50*time.Millisecond)
	or(&t.Request, 5*time.Second)
	or(&t.SlowWrite, 10*time.Second)
	or(&t.SnapshotInterval, 30*time.Second)
	or(&t.Autopilot, 500*time.Millisecond)
	or(&t.Stable, 2*time.Second)
	or(&t.Dead, 10*time.Minute)
	or(&t.Rejoin, 30*time.Second)
	or(&t.Gossip, time.Second)
	or(&t.TakeOver, 20*time.Second)
	or(&t.Lease, 3*time.Second)
	or(&t.Margin, t.Lease/5)
	or(&t.Renewal, 500*time.Millisecond)
	now := c.Now
	if now == nil {
		now = time.Now
	}
	c.Now = func() time.Time { return now().Round(0) } // two monotonic readings would hide a jump between them
	if c.Clock == nil {
		c.Clock = bootClock
	}
	if c.SnapshotThreshold == 0 {
		c.SnapshotThreshold = 8192
	}
	switch c.TrailingLogs {
	case 0:
		c.TrailingLogs = 10240
	case NoTrailingLogs:
		c.TrailingLogs = 0
	}
}

// check refuses what cannot work, in one sentence.
func (c *Config) check() error {
	if err := errors.Join(pki.CheckNodeID(c.NodeID), pki.CheckClusterID(c.ClusterID), c.Timing.checkLease()); err != nil {
		return err
	}
	switch {
	case c.Identity == nil || c.Logger == nil || c.Fatal == nil || c.DataDir == "":
		return errors.New("a node needs a data directory, an identity, a logger and a function for fatal errors")
	case c.Reads > LogMark:
		return fmt.Errorf("%d is no way to find read points", c.Reads)
	case c.Identity.NodeID() != c.NodeID || c.Identity.ClusterID() != c.ClusterID:
		return fmt.Errorf("the node's certificate is that of node %s of cluster %s, the configuration says node %s of cluster %s",
			c.Identity.NodeID(), c.Identity.ClusterID(), c.NodeID, c.ClusterID)
	}
	return nil
}

// checkLease refuses leases with which members would stop serving whenever a
// leader is replaced, or on which clocks may not agree.
func (t *Timing) checkLease() error {
	const replacing = 300 * time.Millisecond // beside three heartbeats
	left, needed := t.Lease-t.Renewal-t.Margin, 3*t.Heartbeat+replacing
	switch {
	case t.Renewal <= 0 || left <= needed:
		return fmt.Errorf("a serving lease of %s that is renewed every %s and ends %s early lasts %s when its leader is lost, which must be more than the %s (three heartbeats and %s) that replacing a leader takes: make the lease longer or the heartbeat shorter",
			t.Lease, t.Renewal, t.Margin, left, needed, replacing)
	case t.Margin < t.Lease/leastMargin:
		return fmt.Errorf("a margin of %s is too little for a serving lease of %s: clocks may run a tenth differently", t.Margin, t.Lease)
	}
	return nil
}

// leastMargin is the part of a serving lease that its margin is at least: clocks may
// run a tenth differently.
const leastMargin = 10

// leaseTerms are what leases are granted on, and the longest Length of any that
// may be in force.
func (c *Config) leaseTerms() (terms Terms, longest time.Duration) {
	return Terms{Length: c.Timing.Lease, Margin: c.Timing.Margin}, c.Timing.Lease
}

// checkAddress refuses an address that other nodes cannot dial.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("the cluster address %.100q is not host:port", address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() || port == "" || port == "0" {
		return fmt.Errorf("the cluster address %.100q cannot be reached from other nodes; name the one to advertise", address)
	}
	return nil
}

// maxAppendEntries is how many entries go into one write and one message. Group
// commit is where throughput comes from; 256 keeps a message of ordinary
// commands well below what delays a heartbeat, and half of the log cache.
const maxAppendEntries = 256

// raftConfig is the configuration of hashicorp/raft.
func (c *Config) raftConfig(notify chan<- bool) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.NodeID)
	rc.HeartbeatTimeout = c.Timing.Heartbeat
	rc.ElectionTimeout = c.Timing.Election
	rc.LeaderLeaseTimeout = c.Timing.LeaderLease
	rc.CommitTimeout = c.Timing.Commit
	rc.SnapshotInterval = c.Timing.SnapshotInterval
	rc.SnapshotThreshold = c.SnapshotThreshold
	rc.TrailingLogs = c.TrailingLogs
	rc.MaxAppendEntries = maxAppendEntries
	rc.BatchApplyCh = true
	rc.NoLegacyTelemetry = true
	rc.ShutdownOnRemove = false // a removed leader ends by fatal, in our order
	rc.NotifyCh = notify
	rc.Logger = newRaftLogger(c.Logger, "raft")
	return rc
}

func (c *Config) raftDir() string { return filepath.Join(c.DataDir, "raft") }
