package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// leasing carries out the lessee's half of lease.go on every node, and the
// granting of the lessor's on the leader. fencing.go is about what is released.
type leasing struct {
	incarnation uint64
	until       atomic.Int64 // the lease in use lasts so long (a moment) ...
	since       atomic.Int64 // ... and was asked for then
	behind      atomic.Bool  // a lease waits for more to be applied
	held        sync.Mutex
	lessee      lessee

	released appliedIndex
	told     atomic.Pointer[said]        // of the leader's time, with the newest lease
	shown    atomic.Pointer[shownClocks] // likewise
	seeking  atomic.Bool
	lender   atomic.Pointer[lender]
	pushes   pushes

	renewals, failures atomic.Uint64
	outstanding        atomic.Int64 // who waits for a released index
}

// lender is this node's lessor of the newest term in which it led.
type lender struct {
	mu sync.Mutex
	lessor
	news broadcast // a report came, or a record went
}

func (l *leasing) init() { l.incarnation = rand.Uint64() | 1 }

// Serving reports whether this node holds a serving lease at this moment: what
// its state machine holds when it is looked at afterwards may answer a call that
// has begun before, without asking anybody. It costs a look at a clock.
func (n *Node) Serving() bool {
	return int64(n.cfg.Clock()) < n.until.Load() && n.open.Err() == nil
}

// Age returns how old this node's state may be: everything that was acknowledged
// before that is in it. It grows while the node has no leader to ask; a node that
// never had one has no age.
func (n *Node) Age() (age time.Duration, known bool) {
	since := n.since.Load()
	return n.cfg.Clock() - moment(since), since != 0
}

// LeaseStatus is what a node knows of its leases and of what is released.
type LeaseStatus struct {
	Serving            bool          // it holds a serving lease
	Left               time.Duration // until that runs out
	Renewals, Failures uint64        // of its lease
	Released           uint64        // nobody answers from a state before this index
	Lag                uint64        // entries that are applied here and not known to be released
	Waiting            int64         // who waits for a released index on this node
}

// Lease returns what this node knows of its leases.
func (n *Node) Lease() LeaseStatus {
	s := LeaseStatus{
		Serving:  n.Serving(),
		Left:     max(0, moment(n.until.Load())-n.cfg.Clock()),
		Renewals: n.renewals.Load(),
		Failures: n.failures.Load(),
		Released: n.released.load(),
		Waiting:  n.outstanding.Load(),
	}
	if applied := n.applied.load(); applied > s.Released {
		s.Lag = applied - s.Released
	}
	return s
}

// reconsider looks which lease counts by now.
func (n *Node) reconsider() {
	n.held.Lock()
	defer n.held.Unlock()
	applied := n.applied.load()
	if best := n.lessee.serving(n.cfg.Clock(), applied); int64(best.until) > n.until.Load() {
		n.since.Store(int64(best.since))
		n.until.Store(int64(best.until))
	}
	n.behind.Store(n.lessee.waiting(applied))
}

// The bodies of methodLease, big-endian. Later versions may append to them.
type (
	leaseAsk struct {
		Term, Incarnation, Applied, Released uint64
		Clock                                int64 // Unix ms, on the asker's clock
		States                               [2]hashed
	}
	leaseAnswer struct {
		Index, Released uint64
		Length, Margin  int64 // nanoseconds
	}
	// leaseTime follows a leaseAnswer, but not that of the first versions.
	leaseTime struct {
		Now int64 // what the leader stamps commands with, Unix ms; 0: it does not know yet
	}
	// leaseClocks is what the leader's clocks showed as it answered. It follows a
	// leaseTime, and the next leaseAsk, which brings it back, so that the leader
	// knows of a moment before the asker's clock was read. The first versions do
	// not know it.
	leaseClocks struct {
		Moment int64 // by Config.Clock, nanoseconds
		Wall   int64 // by Config.Now, Unix ms; 0: the asker has had no answer in this term
	}
)

// encode is the form of one of the structs above.
func encode(body any) []byte {
	encoded, err := binary.Append(nil, binary.BigEndian, body)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", body, err)) // fixed sizes only
	}
	return encoded
}

// decode reads one; what follows it is of a later version.
func decode(encoded []byte, body any) error {
	if err := binary.Read(bytes.NewReader(encoded), binary.BigEndian, body); err != nil {
		return &RemoteError{Code: "invalid", Message: "the message is shorter than this version knows it"}
	}
	return nil
}

// keepLease renews this node's lease, for its whole life.
func (n *Node) keepLease() {
	for {
		changed := n.view.changed()
		wait := n.cfg.Timing.Renewal
		switch first, err := n.renew(); {
		case err == nil:
			n.renewals.Add(1)
			if first {
				wait = 0
			}
		case errors.Is(err, ErrNoLeader):
		default:
			n.failures.Add(1)
			n.log.Debug("renewing the serving lease", "err", err)
			wait = min(wait, 4*retryAfter)
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-n.open.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// renew asks the leader for a lease, once. first: it was the first one of the
// term, and what this node said of its clock with it did not count.
func (n *Node) renew() (first bool, err error) {
	e := n.epoch.Load()
	if e.leader == "" {
		return false, ErrNoLeader
	}
	ctx, cancel := context.WithTimeout(n.open, n.cfg.Timing.Lease/3)
	defer cancel()
	sent := n.cfg.Clock() // before everything else
	term := n.raft.CurrentTerm()
	var back leaseClocks
	if shown := n.shown.Load(); shown != nil && shown.term == term {
		back = shown.leaseClocks
	}
	ask := encode(leaseAsk{Term: term, Incarnation: n.incarnation, Applied: n.applied.load(), Released: n.released.load(),
		Clock: n.cfg.Now().UnixMilli(), States: n.hashes.newest()})
	body, err := n.callIn(ctx, e.over, e.leader, methodLease, append(ask, encode(back)...))
	if remote := new(RemoteError); errors.As(err, &remote) && remote.Code == codeDiverged {
		n.fatal(fmt.Errorf("%w: %w", ErrDiverged, remote))
	}
	if err != nil {
		return false, err
	}
	var answer leaseAnswer
	if err := decode(body, &answer); err != nil {
		return false, err
	}
	var leader leaseTime
	rest := body[binary.Size(answer):]
	if len(rest) >= binary.Size(leader) && decode(rest, &leader) == nil && leader.Now != 0 {
		n.told.Store(&said{clock: time.UnixMilli(leader.Now), when: n.cfg.Clock()})
	}
	shown := shownClocks{term: term}
	if own := binary.Size(leader); len(rest) >= own+binary.Size(shown.leaseClocks) && decode(rest[own:], &shown.leaseClocks) == nil && shown.Wall != 0 {
		n.shown.Store(&shown)
		first = back.Wall == 0
	}
	n.released.advance(answer.Released)
	terms := Terms{Length: time.Duration(answer.Length), Margin: time.Duration(answer.Margin)}
	if own, longest := n.cfg.leaseTerms(); terms.Length-terms.Margin > longest-longest/leastMargin {
		terms = own // who leads falsely could have this node serve for ever
	}
	n.held.Lock()
	n.lessee.take(grant{index: answer.Index, terms: terms}, sent)
	n.held.Unlock()
	n.reconsider()
	return first, nil
}

// shownClocks is what the clocks of the leader of a term showed in its last answer.
type shownClocks struct {
	term uint64
	leaseClocks
}

// serveLease answers methodLease on the leader, in the order that lease.go asks
// for: the holder is on record before the round begins that finds its index.
func (n *Node) serveLease(ctx context.Context, peer string, body []byte) ([]byte, error) {
	var ask leaseAsk
	if err := decode(body, &ask); err != nil {
		return nil, err
	}
	if err := n.waitReady(ctx); err != nil {
		return nil, err
	}
	l := n.lender.Load()
	if l == nil || l.term != ask.Term || !n.leadsIn(l.term) {
		return nil, n.notLeader()
	}
	if !n.isMember(peer) {
		return nil, &RemoteError{Code: "not_member", Message: "only members of the committed configuration are given leases", Node: peer}
	}
	n.hearClock(peer, time.UnixMilli(ask.Clock), body[binary.Size(ask):])
	if err := n.hearHashes(peer, ask.States); err != nil {
		return nil, err
	}
	applied, told := n.applied.load(), report{holder: holder{peer, ask.Incarnation}, applied: ask.Applied}
	if committed := n.committed.Load(); committed != nil && hasVote(*committed, peer) {
		// Earlier leaders have released it. Who only replicates is not believed about
		// what others have stopped to answer from, and nobody about what a leader that
		// is ready has not applied.
		told.released = min(ask.Released, applied)
	}
	l.mu.Lock()
	entry := l.record(told, applied, n.cfg.Clock())
	l.mu.Unlock()
	l.news.signal()
	if entry == nil {
		return nil, &RemoteError{Code: "not_member", Message: "the node is about to be removed", Node: peer}
	}
	index, err := n.points.join(ctx)
	if err == nil && !n.leadsIn(l.term) {
		err = n.notLeader()
	}
	l.mu.Lock()
	if err != nil {
		l.forget(entry)
	} else if !l.grant(entry, index) {
		err = errUnproved
	}
	terms := l.terms
	l.mu.Unlock()
	l.news.signal()
	if err != nil {
		return nil, err
	}
	released, _ := n.release(l)
	answer := encode(leaseAnswer{Index: index, Released: released, Length: int64(terms.Length), Margin: int64(terms.Margin)})
	var leader leaseTime
	if now := n.Now(); !now.IsZero() {
		leader.Now = now.UnixMilli()
	}
	shown := leaseClocks{Wall: n.cfg.Now().UnixMilli(), Moment: int64(n.cfg.Clock())}
	return slices.Concat(answer, encode(leader), encode(shown)), nil
}

// isMember reports whether a node is in the newest configuration applied here.
func (n *Node) isMember(node string) bool {
	if committed := n.committed.Load(); committed != nil {
		for _, server := range *committed {
			if server.ID == raft.ServerID(node) {
				return true
			}
		}
	}
	return false
}

// lend begins this node's term as a lessor. Everything that was committed before
// is applied, and nobody has been granted anything in this term. What others
// granted was sent for before this node was elected.
func (n *Node) lend(term uint64, elected moment) {
	var members []string
	if committed := n.committed.Load(); committed != nil {
		for _, server := range *committed {
			members = append(members, string(server.ID))
		}
	}
	terms, longest := n.cfg.leaseTerms()
	n.lender.Store(&lender{lessor: *newLessor(term, members, terms, longest, n.released.load(), elected)})
}

// vacate waits until a node that is to be removed holds no lease any more, and
// is given none. It returns the lender of whose term that is true.
func (n *Node) vacate(ctx context.Context, node string) (*lender, error) {
	if err := n.waitReady(ctx); err != nil {
		return nil, err
	}
	l := n.lender.Load()
	if l == nil || !n.leadsIn(l.term) {
		return nil, n.notLeader()
	}
	l.mu.Lock()
	until := l.bar(node, n.cfg.Clock())
	l.mu.Unlock()
	for {
		left := until - n.cfg.Clock()
		if left <= 0 {
			return l, nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			l.pardon(node)
			return nil, fmt.Errorf("waiting for its last serving lease to run out: %w: %w", ErrNotDone, context.Cause(ctx))
		case <-n.open.Done():
			timer.Stop()
			return nil, ErrStopped
		}
	}
}

// pardon lets a node have leases again that was certainly not removed.
func (l *lender) pardon(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.admit(node)
}
