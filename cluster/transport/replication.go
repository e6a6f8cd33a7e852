package transport

import (
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Replication is Raft's transport over the cluster port. It differs from
// raft.NetworkTransport, which it embeds, in six points:
//
//   - every address is pinned to the node that is meant;
//   - heartbeats take no fast path past the main loop (hashicorp/raft#695 is a
//     safety bug in it), so they may queue behind a follower's disk;
//   - it sees every acknowledgement, and so knows how far each follower is
//     ([Replication.Followers]);
//   - it pushes the commit index as soon as the leader has applied it
//     ([Replication.Applied]);
//   - it knows that what is applied here is in every leader's log ([Local]);
//   - it numbers every AppendEntries, whoever sends it and why, keeps which
//     were acknowledged (Acks), and sends one when asked
//     ([Replication.Ask]).
//
// Embedding, rather than a field, keeps raft's optional interfaces (pre-vote,
// leadership transfer, closing) visible.
type Replication struct {
	*raft.NetworkTransport
	leadership
	received *received
	Acks     Ledger        // of every AppendEntries below
	appends  atomic.Uint64 // AppendEntries sent by Raft, heartbeats among them
	pushes   atomic.Uint64 // commit pushes sent
	asks     atomic.Uint64 // heartbeats sent because a round asked

	installs installs
	repeated atomic.Uint64 // snapshots that a follower took a second time
	log      hclog.Logger
}

// NewReplication makes Raft's transport. timeout bounds each request; that of a
// snapshot grows with its size, by one timeout per 256 KiB. Who sends a part of
// one and then nothing for that long is cut off. leading reports
// whether this node leads in that term at this moment; neither it nor what local
// has may block for long.
func NewReplication(p *Port, nodeID string, timeout time.Duration, leading func(term uint64) bool, local Local, log hclog.Logger) *Replication {
	t := &Replication{
		log: log,
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                  streamLayer{p.raft, timeout},
			MaxPool:                 4, // replication, heartbeat, push, votes
			Timeout:                 timeout,
			Logger:                  log,
			MsgpackUseNewTimeFormat: true,
		}),
	}
	t.received = receive(local, t.NetworkTransport.Consumer())
	t.leadership = leadership{
		leading: leading,
		send:    t.tellOne,
		header: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax,
			ID:              []byte(nodeID),
			Addr:            []byte(p.cfg.Advertise),
		},
	}
	return t
}

// SetHeartbeatHandler does nothing: there is no fast path. With one, a heartbeat
// is answered beside Raft's own loop (hashicorp/raft#695), which read points rely
// on (cluster/readindex.go).
func (t *Replication) SetHeartbeatHandler(func(raft.RPC)) {}

// Consumer is where Raft takes requests of other nodes from.
func (t *Replication) Consumer() <-chan raft.RPC { return t.received.to }

// EncodePeer is the plain address: names are pinned at dialling only.
func (t *Replication) EncodePeer(_ raft.ServerID, address raft.ServerAddress) []byte {
	return []byte(address)
}

// Close ends the transport; raft calls it too, in the end.
func (t *Replication) Close() error {
	t.Ended(math.MaxUint64)
	t.received.close()
	return t.NetworkTransport.Close()
}

// Wait waits, after Close, for pushes and requests that are under way. They end
// when the port is closed.
func (t *Replication) Wait() {
	t.telling.Wait()
	t.received.wg.Wait()
}

// Counts returns how many AppendEntries Raft has sent (heartbeats included),
// and beside them how many commit pushes and heartbeats for rounds went out.
func (t *Replication) Counts() (appends, pushes, asks uint64) {
	return t.appends.Load(), t.pushes.Load(), t.asks.Load()
}

// Repeated returns how many snapshots a follower took again that it had taken
// within the minute before.
func (t *Replication) Repeated() uint64 { return t.repeated.Load() }

// AppendEntries sends one request and waits for its answer.
func (t *Replication) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	t.appends.Add(1)
	err := t.appendEntries(id, target, req, resp)
	if err == nil {
		t.answered(id, target, req, resp)
	}
	return err
}

// appendEntries is the only way of a request outside a pipeline.
func (t *Replication) appendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	number := t.Acks.Number()
	err := t.NetworkTransport.AppendEntries(id, pinned(id, target), req, resp)
	if err == nil {
		t.Acks.Answered(id, number, req.Term, resp.Term)
	}
	return err
}

// AppendEntriesPipeline opens a pipeline whose answers we see before Raft does.
func (t *Replication) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, pinned(id, target))
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		AppendPipeline: inner, t: t, id: id, target: target,
		numbers: make(map[*raft.AppendEntriesRequest]uint64),
		out:     make(chan raft.AppendFuture), closed: make(chan struct{}),
	}
	p.wg.Go(p.relay)
	return p, nil
}

// InstallSnapshot sends a snapshot.
func (t *Replication) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	end := t.installs.begin()
	defer func() { end(time.Now()) }()
	err := t.NetworkTransport.InstallSnapshot(id, pinned(id, target), req, resp, data)
	if err == nil && resp.Success {
		if t.installs.took(id, req.LastLogIndex, time.Now()) {
			t.repeated.Add(1)
			t.log.Error("a node takes the same snapshot again: if that goes on, restart this node, its leader; if it still does, stop the other, remove it (kmsctl cluster remove), empty its data directory and have it join again", "member", id, "index", req.LastLogIndex)
		}
		t.acked(id, target, req.Term, req.LastLogIndex, 0)
	}
	return err
}

// Feeding tells whether a follower is being sent a snapshot, or was within that
// time and may not have the entries behind it yet.
func (t *Replication) Feeding(within time.Duration) bool {
	return t.installs.since(time.Now(), within)
}

// RequestVote asks for a vote.
func (t *Replication) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, pinned(id, target), req, resp)
}

// RequestPreVote asks whether a vote would be given.
func (t *Replication) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, pinned(id, target), req, resp)
}

// TimeoutNow tells a follower to take over.
func (t *Replication) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, pinned(id, target), req, resp)
}

// tellOne sends what leadership has to tell.
func (t *Replication) tellOne(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if req.LeaderCommitIndex == 0 {
		t.asks.Add(1)
	} else {
		t.pushes.Add(1)
	}
	return t.appendEntries(id, target, req, resp)
}

// answered notes what an acknowledgement proves: the follower's log equals ours
// up to its last entry.
func (t *Replication) answered(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) {
	if !resp.Success {
		return
	}
	match := req.PrevLogEntry // zero in a heartbeat, which proves nothing about the log
	if n := len(req.Entries); n > 0 {
		match = req.Entries[n-1].Index
	}
	t.acked(id, target, req.Term, match, req.LeaderCommitIndex)
}

// pipeline relays the answers of raft's own pipeline.
type pipeline struct {
	raft.AppendPipeline
	t      *Replication
	id     raft.ServerID
	target raft.ServerAddress
	out    chan raft.AppendFuture
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup

	mu      sync.Mutex
	numbers map[*raft.AppendEntriesRequest]uint64 // of the requests under way; a handful
}

func (p *pipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.t.appends.Add(1)
	p.mu.Lock()
	p.numbers[req] = p.t.Acks.Number()
	p.mu.Unlock()
	return p.AppendPipeline.AppendEntries(req, resp) // after an error Raft closes the pipeline
}

// answered takes note of an answer.
func (p *pipeline) answered(future raft.AppendFuture) {
	req := future.Request()
	p.mu.Lock()
	number, known := p.numbers[req]
	delete(p.numbers, req)
	p.mu.Unlock()
	if !known || future.Error() != nil {
		return
	}
	p.t.Acks.Answered(p.id, number, req.Term, future.Response().Term)
	p.t.answered(p.id, p.target, req, future.Response())
}

func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.out }

func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	err := p.AppendPipeline.Close()
	p.wg.Wait()
	return err
}

func (p *pipeline) relay() {
	for {
		select {
		case future := <-p.AppendPipeline.Consumer():
			p.answered(future)
			select {
			case p.out <- future:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}
