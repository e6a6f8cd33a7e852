package transport

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadership is what a leader knows of its followers in one term, and what it
// tells them beside Raft: the commit push, and a heartbeat on request.
//
// Raft tells followers of a commit with its next message to them, which may be
// CommitTimeout away; a caller that waits until the command is applied on its
// own node waits that long. So once the leader has applied index i, each
// follower whose log is known to reach i gets an AppendEntries without entries:
// previous entry i with its term, commit index i. It is a message that Raft
// itself might send: it asserts only that the sender led in the term, that the
// entry at i is the cluster's, and that it is committed, all of which stay
// true. A follower that is not there yet gets it with the acknowledgement that
// brings it there.
//
// Who must know that this node still leads does not wait for Raft's next
// heartbeat but asks for one now ([Replication.Ask]): the very message that
// Raft sends, with nothing in it but the term. Raft's own bookkeeping of its
// followers sees neither these messages nor their answers.
//
// One message is in flight per follower; the newest index wins, and a push is
// as good as a heartbeat.
type leadership struct {
	leading func(term uint64) bool
	send    func(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error
	header  raft.RPCHeader

	mu      sync.Mutex
	term    uint64 // the newest term in which this node sent entries
	over    bool   // leadership in that term has ended
	index   uint64 // last entry applied here ...
	of      uint64 // ... and its term
	peers   map[raft.ServerID]*follower
	left    map[raft.ServerID]bool // followers in the term that are members no more; they may yet answer
	telling sync.WaitGroup
}

type follower struct {
	id      raft.ServerID
	target  raft.ServerAddress
	match   uint64 // its log equals ours up to here
	told    uint64 // it has been told of commits up to here
	asked   bool   // a heartbeat is wanted
	lastAck time.Time
	wake    chan struct{}
	stop    chan struct{}
}

// Follower is how far a peer is, as its acknowledgements in this term tell.
type Follower struct {
	Match   uint64    // its log equals the leader's up to this index
	LastAck time.Time // when it last acknowledged anything
}

// Followers returns what is known of each peer in the term, nothing when this
// node has sent no entries in it.
func (l *leadership) Followers(term uint64) map[string]Follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term || l.over {
		return nil
	}
	known := make(map[string]Follower, len(l.peers))
	for id, f := range l.peers {
		known[string(id)] = Follower{Match: f.match, LastAck: f.lastAck}
	}
	return known
}

// Applied says that this node has applied the entry at index, which is of that
// term. It does not block.
func (l *leadership) Applied(index, term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index, l.of = index, term
	for _, f := range l.peers {
		if l.due(f) {
			f.rouse()
		}
	}
}

// Ask has a request sent to each of these peers as soon as the one that is
// under way to it, if any, is answered. It is numbered, and sent, after the
// call. Peers that have acknowledged nothing in the term are left to Raft. It
// does not block.
func (l *leadership) Ask(term uint64, peers []raft.ServerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term || l.over {
		return
	}
	for _, id := range peers {
		if f := l.peers[id]; f != nil {
			f.asked = true
			f.rouse()
		}
	}
}

// Configured says which peers Raft replicates to by now. What is known of any other
// is forgotten: one that comes back under the same name in the same term may have
// another log. It does not block.
func (l *leadership) Configured(servers []raft.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, f := range l.peers {
		if !slices.ContainsFunc(servers, func(server raft.Server) bool { return server.ID == id }) {
			l.left[id] = true
			close(f.stop)
			delete(l.peers, id)
		}
	}
	for _, server := range servers {
		delete(l.left, server.ID)
	}
}

// Ended says that this node no longer leads in the term, or in any up to it: no
// more pushes of it. One that is under way ends with its request.
func (l *leadership) Ended(term uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term < l.term {
		return
	}
	l.term, l.over = term, true
	l.dismiss()
}

func (l *leadership) dismiss() {
	for id, f := range l.peers {
		close(f.stop)
		delete(l.peers, id)
	}
}

// acked notes an acknowledgement; match zero proves only that the peer lives.
func (l *leadership) acked(id raft.ServerID, target raft.ServerAddress, term, match, commit uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if term < l.term || term == l.term && l.over {
		return
	}
	if term > l.term {
		l.dismiss()
		l.term, l.over = term, false
		l.peers, l.left = make(map[raft.ServerID]*follower), make(map[raft.ServerID]bool)
	}
	if l.left[id] {
		return
	}
	f := l.peers[id]
	if f == nil {
		f = &follower{id: id, wake: make(chan struct{}, 1), stop: make(chan struct{})}
		l.peers[id] = f
		l.telling.Go(func() { l.tell(f, term) })
	}
	f.target, f.lastAck = target, time.Now()
	f.match = max(f.match, match)
	f.told = max(f.told, min(commit, match))
	if l.due(f) {
		f.rouse()
	}
}

// due reports whether a follower is to be told of a commit.
func (l *leadership) due(f *follower) bool { return l.index > f.told && f.match >= l.index }

// rouse wakes the follower's goroutine.
func (f *follower) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (l *leadership) tell(f *follower, term uint64) {
	for {
		select {
		case <-f.stop:
			return
		case <-f.wake:
		}
		for {
			target, req := l.next(f, term)
			if req == nil {
				break
			}
			// A failure is no news: Raft's own messages carry the commit index too.
			var resp raft.AppendEntriesResponse
			if err := l.send(f.id, target, req, &resp); err != nil || resp.Term > term {
				break
			}
		}
	}
}

// next is what a follower is to be told, nil when there is nothing.
func (l *leadership) next(f *follower, term uint64) (raft.ServerAddress, *raft.AppendEntriesRequest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.due(f)
	if l.term != term || l.over || !due && !f.asked || !l.leading(term) {
		return "", nil
	}
	f.asked = false
	req := &raft.AppendEntriesRequest{RPCHeader: l.header, Term: term}
	if due {
		f.told = l.index
		req.PrevLogEntry, req.PrevLogTerm, req.LeaderCommitIndex = l.index, l.of, l.index
	}
	return f.target, req
}
