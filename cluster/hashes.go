package cluster

import (
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// Hasher is a [StateMachine] that can say in a few bytes what it holds. Nodes
// then compare that at equal indexes, and one that differs from most stops.
type Hasher interface {
	// Hash returns the hash of the state after the last applied entry; it is
	// called as Snapshot is. Hashes of different versions are not compared.
	Hash() (hash [32]byte, version uint32)
}

// hashed is the hash of the state after one entry.
type hashed struct {
	Index   uint64
	Version uint32
	Hash    [32]byte
}

// hashStep is how many entries lie between states that every node hashes:
// nodes apply in batches of their own.
const hashStep = 256

// keptHashes bounds what is remembered of each kind.
const keptHashes = 64

// hashes are the newest that this node has taken: of the states at steps, which
// all nodes have in common, and of those after its own batches, which they have
// in common when nothing happens.
type hashes struct {
	mu      sync.Mutex
	steps   []hashed
	batches []hashed
	opinion map[uint64]map[string][32]byte // on the leader: index → who said what
	asked   []uint64                       // the indexes of opinion, oldest first
}

func (h *hashes) note(at hashed, step bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := &h.batches
	if step {
		list = &h.steps
	}
	if *list = append(*list, at); len(*list) > keptHashes {
		*list = (*list)[1:]
	}
}

// newest returns what a node says of itself: the last of each kind.
func (h *hashes) newest() (said [2]hashed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.steps); n > 0 {
		said[0] = h.steps[n-1]
	}
	if n := len(h.batches); n > 0 {
		said[1] = h.batches[n-1]
	}
	return said
}

func (h *hashes) at(said hashed) (own hashed, known bool) {
	for _, list := range [...][]hashed{h.steps, h.batches} {
		for _, own := range list {
			if own.Index == said.Index && own.Version == said.Version {
				return own, true
			}
		}
	}
	return hashed{}, false
}

// verdict is what follows from what a member said.
type verdict uint8

const (
	alike    verdict = iota // or nothing to compare, or not enough opinions
	theyFail                // most hold what this node holds
	weFail                  // most hold the same other thing
)

// compare judges what a member said on the leader, self, by what voters have
// said of the same index. Where there are too few for a majority of one opinion
// and everybody has spoken, the leader's counts.
func (h *hashes) compare(self, peer string, said hashed, servers []raft.Server) verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	own, known := h.at(said)
	if !known {
		return alike
	}
	said1 := h.opinion[said.Index]
	if said1 == nil {
		if h.opinion == nil {
			h.opinion = make(map[uint64]map[string][32]byte)
		}
		said1 = make(map[string][32]byte)
		h.opinion[said.Index] = said1
		if h.asked = append(h.asked, said.Index); len(h.asked) > keptHashes {
			delete(h.opinion, h.asked[0])
			h.asked = h.asked[1:]
		}
	}
	said1[self], said1[peer] = own.Hash, said.Hash
	if said.Hash == own.Hash {
		return alike
	}
	holds := func(hash [32]byte) bool {
		return majority(servers, func(id raft.ServerID) bool { got, spoke := said1[string(id)]; return spoke && got == hash })
	}
	silent := 0
	for _, server := range servers {
		if _, spoke := said1[string(server.ID)]; !spoke {
			silent++
		}
	}
	switch {
	case holds(said.Hash):
		return weFail
	case holds(own.Hash), silent == 0:
		return theyFail
	default:
		return alike
	}
}

// hear compares what a member says of its state with what is known here. The
// error is for the member, which stops; a leader that is wrong itself stops here.
func (n *Node) hearHashes(peer string, said [2]hashed) error {
	committed := n.committed.Load()
	if committed == nil || peer == n.cfg.NodeID {
		return nil
	}
	for _, s := range said {
		if s.Index == 0 {
			continue
		}
		switch n.hashes.compare(n.cfg.NodeID, peer, s, *committed) {
		case theyFail:
			n.log.Error("a member's state differs from that of most members; it is told to stop", "member", peer, "index", s.Index)
			return &RemoteError{Code: codeDiverged, Message: fmt.Sprintf("after entry %d the state of node %s differs from that of most members", s.Index, peer), Node: peer}
		case weFail:
			n.fatal(fmt.Errorf("%w: after entry %d it differs from that of most members", ErrDiverged, s.Index))
			return ErrStopped
		}
	}
	return nil
}
