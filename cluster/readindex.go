package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/transport"
)

// All reads are on this page.
//
// A read is linearizable when it sees every command that was acknowledged
// anywhere before the read began. A node gets there in three steps: it asks the
// leader for a read point; the leader finds one in a round that begins after it
// was asked; the node waits until it has applied that index, and reads its own
// state. Rounds are shared (rounds.go), among the callers on a node and among
// the nodes at the leader; who comes during a round waits for the next.
//
// A round of a leader of term T (prove):
//
//	after = the number of the last AppendEntries sent       transport.Ledger
//	this node leads in T and has applied an entry of T      else: not leader, or busy
//	index = Raft's commit index                             the read point
//	heartbeats are sent; wait until a majority has acknowledged, in T,
//	requests numbered above after                           else: busy
//	this node still leads in T                              else: not leader
//
// Why index is at or behind every command acknowledged before the round began.
// Call that moment B; it is before the number was noted.
//
//  1. Until B nobody was elected in a term above T. Each voter of the majority
//     was in term T when it dealt with a request that was sent after B. Terms
//     never fall, not even over a restart, and who votes in a term enters it
//     first: so at B it had voted in no term above T. This node itself counts
//     likewise, as it is in T after B. Whoever was elected needed a majority, and
//     two majorities share a voter.
//  2. So what was committed by B was committed by leaders of terms up to T. That
//     of earlier terms is in this node's log before its first entry of T, which is
//     committed. That of T this node has committed itself, and Raft moves the
//     commit index before it lets anybody know.
//
// It takes no clock: a pause at any point, of anyone, only delays. An answer to
// what was sent before the pause carries a number that does not count; this is
// where raft.VerifyLeader fails, which credits an answer to whoever waits when it
// comes in. And it needs every request to be dealt with on raft's main loop, one
// after the other with votes: the transport has no fast path for heartbeats.
//
// Success does not matter, the term does: a follower that refuses for want of a
// log entry says in which term it was just as well, and step 1 uses nothing else.
// An answer from a lower term does not exist (it takes up ours, on its disk,
// before it answers); one from a higher term ends the round.
//
// Majority of what? Someone elected in the lowest term above T by B had all that
// this node has ever committed in its log, and nothing that this node appended
// after B: its configuration was our newest one or the committed one before it.
// Raft changes one voter at a time, so a majority of our newest configuration,
// read at any time after B, meets those of both. We ask for a majority of the
// newest one applied here as well, which is committed.
//
// index is waited for, so it must be one that the state machine comes to (raft's
// no-op at the start of a term is not). All entries of a term behind that no-op
// are commands, marks, or changes of members, and fsm.go counts each; index is
// no lower than the first of them, which gain had applied. A snapshot that covers
// index restores a state machine that has counted it.
//
// The log itself proves as much ([LogMark]): a mark that is committed, in
// whatever term and by whatever rumour of leadership, is behind every command
// acknowledged before it was proposed. That costs a write per round. It is the
// yardstick of the above.

// attemptTimeout bounds one question to a leader that does not answer.
const attemptTimeout = 5 * time.Second

// Barrier returns an index that this node has applied, such that its state from
// then on contains every command that was acknowledged before the call. An
// error wraps [ErrNoLeader], [ErrStopped] or another kind of [ErrNotDone]: there
// is no such index, nothing else has happened.
func (n *Node) Barrier(ctx context.Context) (index uint64, err error) {
	index, err = n.asks.join(ctx)
	if err == nil {
		err = n.applied.wait(ctx, n.ended, index)
	}
	if err == nil {
		return index, nil
	}
	if !errors.Is(err, ErrNotDone) {
		kind := ErrNotDone
		if _, known := n.Leader(); !known {
			kind = ErrNoLeader
		}
		err = fmt.Errorf("%w: %w", kind, err)
	}
	return 0, fmt.Errorf("waiting for a read point: %w", err)
}

// readPoint is one round of this node: the leader's answer, whoever that is and
// however often it has to be asked. A round may be held twice, so that every
// failure is worth a retry.
func (n *Node) readPoint() (index uint64, err error) {
	always := func(error) bool { return true }
	err = n.atLeader(n.open, always, func(e *epoch) error {
		ctx, cancel := context.WithTimeout(n.open, attemptTimeout)
		defer cancel()
		if e.leader == n.cfg.NodeID {
			index, err = n.points.join(ctx)
			return err
		}
		answer, err := n.callIn(ctx, e.over, e.leader, methodReadPoint, nil)
		if err != nil {
			return err
		}
		if len(answer) < 16 {
			return fmt.Errorf("node %s answered in an unknown form", e.leader)
		}
		index = binary.BigEndian.Uint64(answer)
		n.released.advance(binary.BigEndian.Uint64(answer[8:]))
		return nil
	})
	return index, err
}

// serveReadPoint answers methodReadPoint on the leader.
func (n *Node) serveReadPoint(ctx context.Context, _ string, _ []byte) ([]byte, error) {
	if _, ok := n.leads(); !ok {
		return nil, n.notLeader()
	}
	index, err := n.points.join(ctx)
	if err != nil {
		return nil, err
	}
	answer := binary.BigEndian.AppendUint64(nil, index)
	return binary.BigEndian.AppendUint64(answer, n.released.load()), nil
}

// mark is one round of the leader under LogMark.
func (n *Node) mark() (index uint64, err error) {
	committed, err := n.replicate(n.ctx, nil)
	return committed.Index, err
}

// prove is one round of the leader under ReadIndex. It ends as soon as this node
// is known not to lead, and after a heartbeat timeout at the latest: a leader
// that reaches no majority for that long is about to step down.
func (n *Node) prove() (index uint64, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.Timing.Heartbeat)
	defer cancel()
	if err := n.waitReady(ctx); err != nil {
		return 0, err
	}
	w := n.witness()
	c, ok := w.claim()
	if !ok {
		return 0, n.notLeader()
	}
	n.trans.Ask(c.term, others(w.members()[0], w.self))
	for {
		news, changed := w.acks.News(), n.view.changed()
		if proved, refuted := w.weigh(c); refuted {
			return 0, n.notLeader()
		} else if proved {
			return c.index, nil
		}
		select {
		case <-news:
		case <-changed:
		case <-n.open.Done():
			return 0, ErrStopped
		case <-ctx.Done():
			return 0, errUnproved
		}
	}
}

// errUnproved: no majority has answered yet. Not done; worth a retry.
var errUnproved = fmt.Errorf("no majority confirms that this node leads: %w", errBusy)

// witness is all that a round looks at.
type witness struct {
	self    raft.ServerID
	leads   func() (term uint64, ok bool)
	ready   func(term uint64) bool  // an entry of the term is applied here
	commit  func() uint64           // Raft's commit index
	members func() [2][]raft.Server // the newest configuration in the log, the newest applied
	acks    *transport.Ledger       // of the requests that this node has sent
}

// claim is what a round sets out to prove: this node led in term when after was
// the last request sent, and index is the read point.
type claim struct{ term, after, index uint64 }

func (n *Node) witness() witness {
	return witness{
		self:   raft.ServerID(n.cfg.NodeID),
		leads:  n.leads,
		ready:  func(term uint64) bool { return n.readyTerm.Load() == term },
		commit: n.raft.CommitIndex,
		members: func() (both [2][]raft.Server) {
			both[0] = n.servers()
			if committed := n.committed.Load(); committed != nil {
				both[1] = *committed
			}
			return both
		},
		acks: &n.trans.Acks,
	}
}

// claim begins a round; false when this node does not lead, or not yet.
func (w *witness) claim() (c claim, ok bool) {
	c.after = w.acks.Sent() // first: everything else is looked at later
	c.term, ok = w.leads()
	ok = ok && w.ready(c.term)
	c.index = w.commit()
	return c, ok
}

// weigh looks whether a claim is proved by now, or refuted for good.
func (w *witness) weigh(c claim) (proved, refuted bool) {
	proved = true
	for _, servers := range w.members() {
		proved = proved && majority(servers, func(id raft.ServerID) bool {
			return id == w.self || w.acks.Acked(id, c.term, c.after)
		})
	}
	term, leads := w.leads()
	refuted = !leads || term != c.term || w.acks.Overruled(c.term, c.after)
	return proved && !refuted, refuted
}

// majority reports whether most voters satisfy has; no voters have no majority.
func majority(servers []raft.Server, has func(raft.ServerID) bool) bool {
	voters, count := 0, 0
	for _, server := range servers {
		if server.Suffrage != raft.Voter {
			continue
		}
		voters++
		if has(server.ID) {
			count++
		}
	}
	return 2*count > voters
}

// others are the voters beside self.
func others(servers []raft.Server, self raft.ServerID) (ids []raft.ServerID) {
	for _, server := range servers {
		if server.Suffrage == raft.Voter && server.ID != self {
			ids = append(ids, server.ID)
		}
	}
	return ids
}
