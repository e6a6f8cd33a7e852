package transport

import (
	"errors"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// Local is what a node knows of itself that requests of a leader are held
// against before Raft sees them.
type Local struct {
	Log     raft.LogStore
	Applied func() uint64 // the last entry that the state machine holds; zero: none
	Term    func() uint64 // Raft's current term; zero: Raft has not started
}

// received hands requests of other nodes on to Raft, and makes good what Raft
// does not know: whatever is applied here is committed, so the log of every
// leader whose term is not over agrees with it, although the entry itself may
// stand in no log any more.
//
// Raft looks for the entry before the ones that it is sent in its log only, and
// for the last one of its snapshot only if the log ends with it. A node that was
// cut off while it led has entries behind its snapshot that nobody else has;
// when it has none before them, it would refuse all that the new leader sends,
// and take the leader's snapshot over and over (hashicorp/raft#697). Few
// installations meet that, with ten thousand entries kept behind a snapshot; but
// a node that erases what was deleted keeps none.
type received struct {
	local  Local
	from   <-chan raft.RPC
	to     chan raft.RPC
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

func receive(local Local, from <-chan raft.RPC) *received {
	r := &received{local: local, from: from, to: make(chan raft.RPC), closed: make(chan struct{})}
	r.wg.Go(r.relay)
	return r
}

func (r *received) close() { r.once.Do(func() { close(r.closed) }) }

func (r *received) relay() {
	for {
		select {
		case rpc := <-r.from:
			if r.answered(rpc) {
				continue
			}
			select {
			case r.to <- rpc:
			case <-r.closed:
				rpc.Respond(nil, raft.ErrTransportShutdown)
				return
			}
		case <-r.closed:
			return
		}
	}
}

// answered prepares a request for Raft, or answers it.
func (r *received) answered(rpc raft.RPC) bool {
	switch req := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		r.ground(req)
	case *raft.InstallSnapshotRequest:
		if term := r.local.Term(); term != 0 && req.Term >= term && r.has(req) {
			// The connection's own goroutine waits; Raft need not.
			r.wg.Go(func() {
				_, err := io.Copy(io.Discard, rpc.Reader)
				rpc.Respond(&raft.InstallSnapshotResponse{Term: req.Term, Success: err == nil}, nil)
			})
			return true
		}
	}
	return false
}

// has reports whether all of a snapshot is here already, applied or in the log.
// It was sent again then, and came late; Raft would go back to it, and to entries
// that its log may no longer hold. Raft's paper says so, too: the log stays.
func (r *received) has(req *raft.InstallSnapshotRequest) bool {
	// The log first: what goes from it meanwhile is applied by then.
	var last raft.Log
	if err := r.local.Log.GetLog(req.LastLogIndex, &last); err == nil && last.Term == req.LastLogTerm {
		return true
	}
	return req.LastLogIndex <= r.local.Applied()
}

// ground takes from a request what is applied here, where Raft could not check
// that it continues the log. And as Raft's paper has it and Raft has not, no more
// is committed than the request vouches for: what stands behind that in the log
// may be nobody else's.
func (r *received) ground(req *raft.AppendEntriesRequest) {
	req.LeaderCommitIndex = min(req.LeaderCommitIndex, req.PrevLogEntry+uint64(len(req.Entries)))
	applied := r.local.Applied()
	if req.PrevLogEntry > applied || req.PrevLogEntry == 0 && len(req.Entries) == 0 {
		return
	}
	// Without an entry before, Raft looks for the first one in its log.
	if err := r.local.Log.GetLog(max(req.PrevLogEntry, 1), new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		return
	}
	req.Entries = req.Entries[min(applied-req.PrevLogEntry, uint64(len(req.Entries))):]
	req.PrevLogEntry, req.PrevLogTerm = 0, 0
}
