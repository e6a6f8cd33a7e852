package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
)

// Patience with nodes in this process.
const (
	leaderPatience = 30 * time.Second
	closePatience  = 30 * time.Second
)

// proposing is nodes of package cluster in this process, with TLS, leases and
// the commit push, and a state machine that keeps nothing.
type proposing struct {
	nodes  []*cluster.Node
	entry  []byte
	faults faults
}

// startProposing starts the nodes, with a directory each under dir, and waits
// until all have a vote.
func startProposing(ctx context.Context, dir string, nodes int) (*proposing, error) {
	p := &proposing{entry: make([]byte, entryBytes)}
	if err := p.start(ctx, dir, nodes); err != nil {
		return nil, fmt.Errorf("starting nodes to propose to: %w", errors.Join(err, p.close()))
	}
	return p, nil
}

func (p *proposing) start(ctx context.Context, dir string, nodes int) error {
	const clusterID = "proposing"
	caDER, caKey, err := pki.NewCA(clusterID, time.Now(), pki.AuthorityLifetime)
	if err != nil {
		return err
	}
	for i := range nodes {
		id := fmt.Sprintf("proposing-%d", i+1)
		identity, err := issue(caDER, caKey, clusterID, id)
		if err != nil {
			return err
		}
		listener, err := transport.Listen("127.0.0.1:0")
		if err != nil {
			return err
		}
		node, err := cluster.Open(ctx, cluster.Config{
			NodeID: id, ClusterID: clusterID, DataDir: filepath.Join(dir, id), Identity: identity, Listener: listener,
			Gossip: membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
			Timing: cluster.Timing{Stable: 50 * time.Millisecond}, // to be there soon
			Fatal:  p.faults.add, Logger: slog.New(slog.DiscardHandler),
		}, new(emptyMachine))
		if err != nil {
			return err
		}
		p.nodes = append(p.nodes, node)
		if i == 0 {
			err = errors.Join(node.Bootstrap(ctx), p.propose(ctx))
		} else {
			err = p.nodes[0].AddNonvoter(ctx, id, listener.Addr().String())
		}
		if err != nil {
			return err
		}
	}
	return whileNobodyLeads(ctx, func() (waiting bool, err error) {
		members, err := p.nodes[0].Members(ctx)
		voters := 0
		for _, m := range members {
			if m.Voter {
				voters++
			}
		}
		if err == nil && voters < nodes {
			return true, fmt.Errorf("%d of %d nodes have a vote", voters, nodes)
		}
		return false, err
	})
}

// issue makes the identity of a node.
func issue(caDER, caKey []byte, clusterID, nodeID string) (*transport.Identity, error) {
	key, err := pki.NewNodeKey()
	if err != nil {
		return nil, err
	}
	csr, err := pki.CSR(key)
	if err != nil {
		return nil, err
	}
	certDER, err := pki.SignNode(caDER, caKey, csr, nodeID, nil, time.Now(), pki.NodeLifetime)
	if err != nil {
		return nil, err
	}
	return transport.NewIdentity(clusterID, nodeID, certDER, key, caDER)
}

// propose proposes an entry through the leader.
func (p *proposing) propose(ctx context.Context) error {
	return whileNobodyLeads(ctx, func() (leaderless bool, err error) {
		for _, n := range p.nodes {
			if n.IsLeader() {
				_, err := n.Propose(ctx, p.entry)
				return errors.Is(err, cluster.ErrNotLeader) || errors.Is(err, cluster.ErrOutcomeUnknown), err
			}
		}
		return true, errors.New("none of the nodes leads")
	})
}

// close ends the nodes, and says what has befallen them.
func (p *proposing) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	problems := make(chan error, len(p.nodes))
	for _, n := range p.nodes {
		go func() { problems <- n.Close(ctx) }()
	}
	var all error
	for range p.nodes {
		all = errors.Join(all, <-problems)
	}
	return errors.Join(all, p.faults.all())
}

// whileNobodyLeads calls try until it does not say any more that there is no
// leader, as a caller would: a leader that is lost costs time.
func whileNobodyLeads(ctx context.Context, try func() (leaderless bool, err error)) error {
	var end time.Time
	for {
		leaderless, err := try()
		if !leaderless || err == nil {
			return err
		}
		if end.IsZero() {
			end = time.Now().Add(leaderPatience)
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %s in vain: %w", leaderPatience, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// faults are why nodes could not go on. There should be none.
type faults struct {
	mu  sync.Mutex
	err error
}

func (f *faults) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(f.err, err)
}

func (f *faults) all() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// emptyMachine is a state machine that only knows how far it is.
type emptyMachine struct{ applied atomic.Uint64 }

func (m *emptyMachine) Apply(entries []cluster.Entry) ([]cluster.Reply, error) {
	m.applied.Store(entries[len(entries)-1].Index)
	return make([]cluster.Reply, len(entries)), nil
}

func (m *emptyMachine) Snapshot() (io.WriterTo, error) { return emptyState(m.applied.Load()), nil }

func (m *emptyMachine) Restore(r io.Reader) error {
	var index uint64
	if err := binary.Read(r, binary.BigEndian, &index); err != nil {
		return err
	}
	m.applied.Store(index)
	return nil
}

func (m *emptyMachine) AppliedIndex() uint64 { return m.applied.Load() }

// emptyState is the index at which there is nothing.
type emptyState uint64

func (s emptyState) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s)))
	return int64(n), err
}
