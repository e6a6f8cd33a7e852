package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/cluster/transport"
)

// maxInFlight is how many commands and barriers of one node may wait for Raft
// at the same time; further ones wait for their turn.
const maxInFlight = 4096

// Node is a member of a cluster, or one that waits to become one.
type Node struct {
	cfg       Config
	log       *slog.Logger
	advertise string

	raft   *raft.Raft
	trans  *transport.Replication
	port   *transport.Port
	rpc    *transport.RPC
	stores *storage.Stores
	gossip *membership.Gossip
	fsm    *fsm
	sm     StateMachine

	started   atomic.Pointer[raft.Raft]         // raft, for those who run before Open has it
	found     atomic.Pointer[membership.Gossip] // gossip, likewise
	addresses atomic.Pointer[addressBook]       // where members were last seen, likewise
	gone      sync.Map                          // node id → address, of members that this node removed

	applied   appliedIndex
	view      broadcast // something about who leads has changed
	epoch     atomic.Pointer[epoch]
	readyTerm atomic.Uint64                 // the last term in which this node led and was ready to
	committed atomic.Pointer[[]raft.Server] // the newest configuration applied here; it is committed

	leasing      // lease.go
	hashes       hashes
	clocks       clocks
	transfers    transferWatch
	asks, points *rounds       // readindex.go
	calls        atomic.Uint64 // to other nodes
	inFlight     chan struct{} // one element per command in Raft's hands
	changes      chan struct{} // one element while a change of members is under way
	erasing      sync.Mutex    // one Erase at a time

	intake   sync.RWMutex
	open     context.Context // ends when no more work is taken
	shut     context.CancelFunc
	work     sync.WaitGroup  // work that was taken
	applying sync.WaitGroup  // entries that Raft was given and has not answered; it answers none after its end
	ctx      context.Context // ends with the loops
	cancel   context.CancelFunc
	loops    sync.WaitGroup // goroutines that run for the node's life
	ended    chan struct{}  // closed when Raft is about to end
	failure  sync.Once
	broken   atomic.Bool // fatal was called
	end      sync.Once
	down     raft.Future // of raft.Shutdown
	closed   sync.Once
	closeErr error
}

// Open starts a node with the state in its data directory, if there is one. A
// new node waits until [Node.Bootstrap] or until a leader adds it. sm must be
// empty (AppliedIndex zero). ctx bounds the opening only.
func Open(ctx context.Context, cfg Config, sm StateMachine) (_ *Node, err error) {
	defer func() {
		if err != nil && cfg.Listener != nil {
			cfg.Listener.Close()
		}
	}()
	cfg.fill()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if sm.AppliedIndex() != 0 {
		return nil, errors.New("opening a node: the state machine is not empty")
	}
	n := &Node{
		cfg:      cfg,
		log:      cfg.Logger.With("node", cfg.NodeID),
		sm:       sm,
		inFlight: make(chan struct{}, maxInFlight),
		changes:  make(chan struct{}, 1),
		ended:    make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.open, n.shut = context.WithCancel(context.Background())
	n.leasing.init()
	n.epoch.Store(newEpoch(""))
	n.asks = &rounds{run: n.readPoint, begin: n.begin}
	n.points = &rounds{run: n.prove, begin: n.begin}
	if cfg.Reads == LogMark {
		n.points.run = n.mark
	}
	n.fsm = &fsm{sm: sm, fatal: n.fatal, hashed: n.hashes.note}
	n.fsm.settle = func(index, term uint64) error { return n.stores.Settle(index, term) }
	n.fsm.members = func(servers []raft.Server) {
		n.committed.Store(&servers)
		n.forgetPushes(servers)
		if r := n.started.Load(); r != nil {
			// Not those of the entry: Raft may be at a newer one.
			n.trans.Configured(r.GetConfiguration().Configuration().Servers)
		}
		n.view.signal()
	}
	n.fsm.applied = func(index, term uint64) {
		n.applied.advance(index)
		if n.behind.Load() {
			n.reconsider()
		}
		if term != 0 {
			n.trans.Applied(index, term)
		}
	}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	if err := n.openFiles(ctx); err != nil {
		return nil, err
	}
	if err := n.openPort(); err != nil {
		return nil, err
	}
	if err := n.openRaft(); err != nil {
		return nil, err
	}
	if err := n.openGossip(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening a node: %w", err)
	}
	n.openCalls()
	n.loops.Go(n.lead)
	n.loops.Go(n.keepMembers)
	n.loops.Go(n.keepGossip)
	n.loops.Go(n.keepLease)
	return n, nil
}

func (n *Node) openPort() (err error) {
	listener := n.cfg.Listener
	if listener == nil {
		if listener, err = transport.Listen(n.cfg.ListenAddress); err != nil {
			return err
		}
	}
	if n.advertise = n.cfg.AdvertiseAddress; n.advertise == "" {
		n.advertise = listener.Addr().String()
	}
	if err := checkAddress(n.advertise); err != nil {
		return errors.Join(err, listener.Close())
	}
	if n.cfg.Admitted != nil {
		n.cfg.Identity.SetAdmitted(n.cfg.Admitted)
	}
	n.cfg.Identity.SetVouchedTime(n.vouchedTime)
	n.port = transport.OpenPort(transport.PortConfig{
		Identity:  n.cfg.Identity,
		Listener:  listener,
		Advertise: n.advertise,
		Resolve:   n.hint,
		MayLead:   n.mayLead,
		Logger:    n.log,
	})
	return nil
}

// openFiles takes the data directory for this process, and looks whether a copy
// of it is in use elsewhere, before the port that others reach it at is open.
func (n *Node) openFiles(ctx context.Context) (err error) {
	n.stores, err = storage.Open(storage.Config{
		Dir:       n.cfg.raftDir(),
		ClusterID: n.cfg.ClusterID,
		NodeID:    n.cfg.NodeID,
		SlowWrite: n.cfg.Timing.SlowWrite,
		Fatal:     n.fatal,
		Logger:    newRaftLogger(n.log, "snapshots"),
	})
	if err != nil {
		return err
	}
	if err := n.stores.Check(); err != nil {
		return err
	}
	book, err := openAddresses(n.cfg.raftDir())
	if err != nil {
		n.log.Warn("this node may not find the others if all have moved", "err", err)
	}
	n.addresses.Store(book)
	return n.checkAlone(ctx, book)
}

func (n *Node) openRaft() (err error) {
	if n.cfg.Metrics != nil {
		if err := n.cfg.Metrics.install(); err != nil {
			return err
		}
	}
	n.trans = transport.NewReplication(n.port, n.cfg.NodeID, n.cfg.Timing.Request, n.leadsIn, transport.Local{
		Log:     n.stores.Log,
		Applied: n.applied.load,
		Term: func() uint64 {
			if r := n.started.Load(); r != nil {
				return r.CurrentTerm()
			}
			return 0
		},
	}, newRaftLogger(n.log, "transport"))
	snapshots, err := n.stores.Snapshots.List()
	if err != nil {
		return fmt.Errorf("starting Raft: %w", err)
	}
	notify := make(chan bool, 16)
	if n.raft, err = startRaft(n.cfg.raftConfig(notify), n.cfg.raftDir(), n.fsm, n.stores, n.trans); err != nil {
		return err
	}
	n.fsm.running.Store(true)
	seen := make(chan raft.Observation, 64)
	n.raft.RegisterObserver(raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, leader := o.Data.(raft.LeaderObservation)
		_, state := o.Data.(raft.RaftState)
		return leader || state
	}))
	n.started.Store(n.raft)
	n.loops.Go(func() { n.watch(notify, seen) })
	if n.open.Err() != nil { // storage failed meanwhile
		n.endRaft()
		if n.down == nil {
			n.down = n.raft.Shutdown()
		}
		return fmt.Errorf("starting Raft: %w", ErrStopped)
	}
	return n.removeUnread(snapshots)
}

// startRaft is raft.NewRaft, which panics when an entry of the log is missing or
// damaged; it has started nothing by then. Raft takes an older snapshot when it
// cannot read the newest one, also where the log does not go on from there to
// the very entry that one ended with: then what is missing was acknowledged, and
// entries in its place may be a cut off leader's own.
func startRaft(config *raft.Config, dir string, f *fsm, stores *storage.Stores, trans raft.Transport) (r *raft.Raft, failed error) {
	defer func() {
		if problem := recover(); problem != nil {
			err, known := problem.(error)
			if !known {
				err = fmt.Errorf("%v", problem)
			}
			failed = storage.Damaged(dir, fmt.Errorf("starting Raft: the log does not continue the newest snapshot that can be read: %w", err))
		}
	}()
	if err := raft.ValidateConfig(config); err != nil {
		return nil, fmt.Errorf("starting Raft: %w", err)
	}
	newest, err := storage.NewestSnapshot(dir)
	if err != nil {
		return nil, storage.Damaged(dir, err)
	}
	snapshots := stores.Snapshots
	if !stores.Reaches(newest.Index, newest.Term) {
		snapshots = newestOnly{snapshots}
	}
	r, err = raft.NewRaft(config, f, stores.Log, stores.Stable, snapshots, trans)
	switch {
	case err == nil:
	case f.unread != nil: // a whole snapshot that the state machine does not take
		return nil, fmt.Errorf("starting Raft: %w: %w", err, f.unread)
	default:
		return nil, storage.Damaged(dir, fmt.Errorf("starting Raft: %w", err))
	}
	return r, nil
}

// newestOnly are snapshots of which none but the newest will do.
type newestOnly struct{ raft.SnapshotStore }

// List implements [raft.SnapshotStore].
func (s newestOnly) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	return all[:min(1, len(all))], err
}

func (n *Node) openGossip() (err error) {
	gossip := n.cfg.Gossip
	if gossip.Label == "" {
		gossip.Label = n.cfg.ClusterID
	}
	n.gossip, err = membership.Open(membership.Options{
		Config:         gossip,
		NodeID:         n.cfg.NodeID,
		ClusterAddress: n.advertise,
		Pace:           n.cfg.Timing.Gossip,
		Fatal:          n.fatal,
		Logger:         n.log,
	})
	if err != nil {
		return err
	}
	n.found.Store(n.gossip)
	return nil
}

// Bootstrap makes this node the only voter of a new cluster. [ErrHasState] when
// it belongs to one already. The node leads soon after; proposals wait for it.
func (n *Node) Bootstrap(ctx context.Context) error {
	err := n.await(ctx, func() error {
		return n.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
			Suffrage: raft.Voter,
			ID:       raft.ServerID(n.cfg.NodeID),
			Address:  raft.ServerAddress(n.advertise),
		}}}).Error()
	})
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrHasState
	}
	if err != nil {
		return fmt.Errorf("bootstrapping the cluster: %w", err)
	}
	return nil
}

// fatal stops the node for a reason that it cannot go on with. It may be called
// on any goroutine of raft's, so it waits for nothing.
func (n *Node) fatal(err error) {
	n.failure.Do(func() {
		n.broken.Store(true)
		n.log.Error("the node cannot go on", "err", err)
		n.stopIntake()
		n.until.Store(0)
		n.endRaft()
		n.cfg.Fatal(err)
	})
}

// begin takes a piece of work, unless the node is closing; done gives it back.
func (n *Node) begin() (done func(), ok bool) { return n.beginOf(&n.work) }

func (n *Node) beginOf(work *sync.WaitGroup) (done func(), ok bool) {
	n.intake.RLock()
	defer n.intake.RUnlock()
	if n.open.Err() != nil {
		return nil, false
	}
	work.Add(1)
	return work.Done, true
}

func (n *Node) stopIntake() {
	n.intake.Lock()
	defer n.intake.Unlock()
	n.shut()
}

// await runs f, which may take for ever, and waits for it as long as ctx and
// Raft last.
func (n *Node) await(ctx context.Context, f func() error) error {
	return n.awaitOf(ctx, &n.work, f)
}

func (n *Node) awaitOf(ctx context.Context, work *sync.WaitGroup, f func() error) error {
	done, ok := n.beginOf(work)
	if !ok {
		return ErrStopped
	}
	result := make(chan error, 1)
	go func() {
		defer done()
		result <- f()
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, context.Cause(ctx))
	case <-n.ended:
		return fmt.Errorf("%w: the node stopped", ErrOutcomeUnknown)
	}
}

func (n *Node) endRaft() {
	n.end.Do(func() {
		close(n.ended)
		if r := n.started.Load(); r != nil {
			n.down = r.Shutdown()
		}
	})
}

// Close ends the node: it takes no more work, waits for what it has taken,
// leaves the gossip, ends Raft and closes its files. What cannot be waited for
// within ctx is left to the end of the process, and that is an error.
func (n *Node) Close(ctx context.Context) error {
	n.closed.Do(func() { n.closeErr = n.close(ctx) })
	return n.closeErr
}

func (n *Node) close(ctx context.Context) error {
	n.stopIntake()
	n.waitFor(ctx, n.work.Wait)
	select {
	case <-n.ended: // Raft gives no answer any more to what it had not looked at
	default:
		n.waitFor(ctx, n.applying.Wait) // a leader that reaches no one steps down and answers, so this is short
	}
	n.endRaft()
	n.cancel()
	err := n.gossip.Close()
	n.trans.Close()
	n.port.Close()
	n.rpc.Close()
	ended := n.waitFor(ctx, func() {
		if err := n.down.Error(); err != nil {
			n.log.Warn("ending Raft", "err", err)
		}
		n.trans.Wait()
		n.work.Wait()
		n.loops.Wait()
	})
	if !ended {
		return fmt.Errorf("closing the node: Raft has not ended: %w", context.Cause(ctx))
	}
	if !n.noteCommitted(ctx) {
		return fmt.Errorf("closing the node: its disk does not answer: %w", context.Cause(ctx))
	}
	return errors.Join(err, n.stores.Close())
}

// noteCommitted leaves behind how far the log is committed, for whoever has to
// found the cluster again from this directory. A node that cannot go on writes
// nothing more: it may be its disk.
func (n *Node) noteCommitted(ctx context.Context) (done bool) {
	if n.broken.Load() {
		return true
	}
	return n.waitFor(ctx, func() {
		if err := n.stores.NoteCommitted(n.raft.CommitIndex()); err != nil {
			n.log.Warn("ending Raft", "err", err)
		}
	})
}

func (n *Node) waitFor(ctx context.Context, wait func()) bool {
	done := make(chan struct{})
	go func() {
		wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// abandon closes what a failed Open has opened.
func (n *Node) abandon() {
	n.stopIntake()
	n.endRaft()
	n.cancel()
	if n.gossip != nil {
		n.gossip.Close()
	}
	if n.trans != nil {
		n.trans.Close()
	}
	if n.port != nil {
		n.port.Close()
	}
	if n.rpc != nil {
		n.rpc.Close()
	}
	if n.down != nil {
		n.down.Error()
	}
	if n.trans != nil {
		n.trans.Wait()
	}
	n.loops.Wait()
	if n.stores != nil {
		n.stores.Close()
	}
}

// broadcast wakes all who wait for the next change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// changed returns a channel that is closed at the next change. Taken before a
// look at what may change, it misses none.
func (b *broadcast) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) signal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
