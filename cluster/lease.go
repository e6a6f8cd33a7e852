package cluster

import (
	"math"
	"time"
)

// Serving leases, fences and the released index are on this page, as a protocol
// without goroutines, clocks or messages of its own: leasing.go and fencing.go
// carry it out, lease_internal_test.go plays schedules of it.
//
// A lease lets a node answer from its own state without asking anybody. What is
// promised in spite of it:
//
//   - Fence. Once the index i is released, no call that a node begins to answer
//     under a lease is answered from a state before i.
//   - No new-then-old. Whoever is told something that only holds from i on is told
//     after i was released; so nobody is told the older thing afterwards.
//   - No fence takes longer than one lease (Terms.Length), however many nodes
//     are silent.
//
// The lessor is the leader in one term, a lessee every member:
//
//	lessee   sent = now, ask: my incarnation, what I have applied        (1)
//	lessor   the asker is a member by the newest *applied* configuration  else: no
//	         record (holder, until = now + Length, what it has applied)   (2)
//	         hold a round of readindex.go that begins now → index         else: forget
//	         the record gets index, which is no lower; answer it          (3)
//	lessee   a call looks whether applied ≥ index and now < sent + Length − Margin,
//	         then loads the state that it is answered from
//
//	released(now) = the lowest, over holders with a record that has not run out, of
//	                max(applied as its own incarnation reported, its lowest index),
//	                and never more than the lessor has applied               (4)
//
// Why nobody serves a state before i once released was i. Take any lease.
//
//  1. Granted by this lessor and recorded before released was computed: it is in
//     (4). Either its index is at or above i, so that it counts only from i on; or
//     that very incarnation has applied i, and a process's state never goes back;
//     or its record has run out. Then the lease has, too: it runs from (1), which
//     is before (2), for Length − Margin, and clocks that run within Margin/Length
//     of one another and count suspended time agree on which comes first.
//  2. Granted by this lessor and recorded afterwards: its index was found in a round
//     that began after the record, so it is at or above all that was committed when
//     released was computed, i among it. This is why (2) comes before the round:
//     between an index and a record a fence would see neither.
//  3. Granted by an earlier lessor: it was proved in a round that began before this
//     term's election, so it was sent for before that, and runs out within the
//     longest Length there may be from then. Its holder was a member of a
//     configuration that was committed by then, which this lessor has applied
//     (readindex.go); and nobody leaves a configuration before his leases have run
//     out (4 below). So every member counts as a holder from index zero, for one
//     such Length from the election, unless it reports to this term: then whatever
//     incarnation held an earlier lease is the one that reports or is dead.
//  4. Granted to a node that has left: the lessor first grants it nothing more
//     (bar), waits until all its records have run out, and only then proposes the
//     change. Whether the change is made or lost with the lessor, no lease of it is
//     left.
//  5. Granted by a later lessor: by 2, with the commit index of its own first entry.
//
// So released is a fact for good, whoever says it, and the higher one counts. A
// new lessor goes on from the highest that it or any member knows.
//
// Incarnations: a process that starts anew has read less of its log than it had
// applied before. A late report of its predecessor must not discharge its lease, so
// every process draws a number for itself. A report also names the term it is made
// to, and counts in that one only.
//
// A call looks at the lease first and loads the state afterwards. When it looked, no
// index above what was applied was released, and the call had begun; what is loaded
// later is newer. So wherever the node is paused, what the call is answered from was
// not yet denied to anybody when it began. The other way round, a call could load an
// old state without a lease, and find the lease that came with the next state.

// moment is a reading of a clock that counts suspended time (CLOCK_BOOTTIME).
type moment = time.Duration

// Terms are what a lease is granted on. They travel with each grant.
type Terms struct {
	Length time.Duration // how long the leader waits for a holder that is silent
	Margin time.Duration // by which the holder stops earlier, for clocks that run differently
}

// holder is one process.
type holder struct {
	node        string
	incarnation uint64
}

// report is what a node says of itself to the leader of a term.
type report struct {
	holder
	applied, released uint64
}

// record is a lease as the lessor knows it. A nil record is none.
type record struct {
	index uint64 // no lower than this; zero for leases that others granted
	until moment
	gone  bool // it has run out, or was forgotten
}

// tenure is what one holder has.
type tenure struct {
	applied uint64
	records []*record
}

// lessor grants the leases of one term and knows what is released.
type lessor struct {
	term     uint64
	terms    Terms
	holders  map[holder]*tenure // incarnation zero: leases of earlier terms
	barred   map[string]bool    // nodes that are about to be removed
	released uint64
}

// newLessor begins a term. members are those of the newest applied
// configuration, longest is the longest Length that may be in force, released
// what this node knows, elected when it was elected or later.
func newLessor(term uint64, members []string, terms Terms, longest time.Duration, released uint64, elected moment) *lessor {
	l := &lessor{term: term, terms: terms, holders: make(map[holder]*tenure), barred: make(map[string]bool), released: released}
	for _, node := range members {
		l.holders[holder{node: node}] = &tenure{records: []*record{{until: elected + longest}}}
	}
	return l
}

// hear takes note of a report to this term.
func (l *lessor) hear(r report) {
	l.released = max(l.released, r.released)
	for _, h := range [...]holder{r.holder, {node: r.node}} {
		if t := l.holders[h]; t != nil {
			t.applied = max(t.applied, r.applied)
		}
	}
}

// record notes that a holder is about to be granted a lease by a lessor that has
// applied so much; the round that finds its index begins afterwards. It is nil for
// one that gets no more.
func (l *lessor) record(r report, applied uint64, now moment) *record {
	l.hear(r)
	if l.barred[r.node] {
		return nil
	}
	t := l.holders[r.holder]
	if t == nil {
		t = &tenure{applied: r.applied}
		l.holders[r.holder] = t
	}
	lease := &record{index: applied, until: now + l.terms.Length}
	t.records = append(t.records, lease)
	return lease
}

// grant gives a record the index that its round has found; false when the
// round took so long that the lease has run out.
func (l *lessor) grant(lease *record, index uint64) bool {
	if lease.gone {
		return false
	}
	lease.index = index
	return true
}

// forget drops a record whose round found nothing: there is no such lease.
func (l *lessor) forget(lease *record) { lease.gone = true }

// bar stops granting to a node that is to be removed, and returns when all
// its leases have run out.
func (l *lessor) bar(node string, now moment) (until moment) {
	l.barred[node] = true
	for h, t := range l.holders {
		if h.node != node {
			continue
		}
		for _, lease := range t.records {
			if !lease.gone {
				until = max(until, lease.until)
			}
		}
	}
	return max(until, now)
}

// admit is the opposite of bar, for a node that was certainly not removed.
func (l *lessor) admit(node string) { delete(l.barred, node) }

// release computes what is released, with the lessor's own applied index, and
// when the next record in the way of more runs out (zero when none is).
func (l *lessor) release(now moment, applied uint64) (released uint64, next moment) {
	low := applied
	for h, t := range l.holders {
		lowest := uint64(math.MaxUint64)
		live := t.records[:0]
		for _, lease := range t.records {
			if lease.gone = lease.gone || now >= lease.until; lease.gone {
				continue
			}
			live = append(live, lease)
			lowest = min(lowest, lease.index)
		}
		clear(t.records[len(live):])
		if t.records = live; len(live) == 0 {
			delete(l.holders, h)
			continue
		}
		reached := max(t.applied, lowest)
		if reached < applied {
			for _, lease := range live {
				if lease.index < applied && (next == 0 || lease.until < next) {
					next = lease.until
				}
			}
		}
		low = min(low, reached)
	}
	l.released = max(l.released, low)
	return l.released, next
}

// behind returns the nodes whose report keeps index from being released.
func (l *lessor) behind(now moment, index uint64) (nodes []string) {
	seen := make(map[string]bool)
	for h, t := range l.holders {
		if t.applied >= index || seen[h.node] {
			continue
		}
		for _, lease := range t.records {
			if !lease.gone && now < lease.until && lease.index < index {
				seen[h.node] = true
				nodes = append(nodes, h.node)
				break
			}
		}
	}
	return nodes
}

// grant is a lease on its way to the holder.
type grant struct {
	index    uint64
	released uint64
	terms    Terms
}

// lessee holds a node's leases.
type lessee struct {
	leases []lease
}

// lease is one that a node was granted. since is when it was asked for: what
// had been acknowledged by then is in a state that has applied index.
type lease struct {
	index        uint64
	since, until moment
}

// take notes a grant that was asked for at sent.
func (l *lessee) take(g grant, sent moment) {
	l.leases = append(l.leases, lease{index: g.index, since: sent, until: sent + g.terms.Length - g.terms.Margin})
}

// serving returns the lease under which a node that has applied so much may
// serve: the one that lasts longest. The zero lease has run out.
func (l *lessee) serving(now moment, applied uint64) (best lease) {
	live := l.leases[:0]
	for _, held := range l.leases {
		switch {
		case held.until <= now:
			continue
		case held.index <= applied && held.until > best.until:
			best = held
		}
		live = append(live, held)
	}
	l.leases = live
	return best
}

// waiting reports whether a lease waits for more to be applied.
func (l *lessee) waiting(applied uint64) bool {
	for _, held := range l.leases {
		if held.index > applied {
			return true
		}
	}
	return false
}
