package cluster

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// A world plays one schedule of the lease protocol in simulated time: clocks
// that run differently, messages that are delayed, reordered, repeated and lost,
// processes that are paused, killed and started anew, elections at any time,
// members that come and go, and clients. Raft is reduced to what the protocol
// rests on (readindex.go): one committed log; only the newest leader commits; a
// round proves something if no newer leader had been elected when it began.
//
// The log holds a single switch: a disabling is a fenced entry, an enabling is
// not. Whoever is answered is answered from the state after some entry.
type world struct {
	rng     *rand.Rand
	flaw    flaw
	climate climate
	now     time.Duration // real time, which nobody sees
	nodes   []*simulated

	log     []entryKind
	states  []switchState // by index; states[0] is that before the first entry
	newest  uint64        // the highest term in which somebody was elected
	mail    []letter
	rounds  []*roundUnderWay
	calls   []*simCall
	granted int // leases that reached their holder
	renewed int // elections that were completed
	waits   []time.Duration
	slow    string // how a fence took too long
}

// climate is how often things happen in a world: once in so many steps. Worlds
// differ, so that what is rare in one is common in another.
type climate struct{ pause, kill, cut, elect, change, write, stall int }

// flaw is a mistake that an implementation could make.
type flaw string

const (
	none             flaw = "none"
	unreleased       flaw = "answers do not wait until they are released"
	indexBefore      flaw = "the holder is recorded after its read index is taken"
	fromReceipt      flaw = "the lease runs from its receipt"
	latestMembers    flaw = "members of an uncommitted configuration get leases"
	forgetful        flaw = "a new leader knows of no leases"
	noMargin         flaw = "clocks that run differently have no margin"
	blindClock       flaw = "the clock does not count suspended time"
	removedAtOnce    flaw = "a member is removed while it holds a lease"
	outlivesTerm     flaw = "a removal waits for the leases of one term and is proposed in another"
	stateBeforeLease flaw = "the state is loaded before the lease is looked at"
	earlyIndex       flaw = "a lease counts before its index is applied"
	unproved         flaw = "leases are granted without proof of leadership"
)

type entryKind struct {
	what string // disable, enable, add, remove
	node int    // of the changes of members
}

type switchState struct {
	enabled bool
	fence   uint64
	members []bool
}

type simulated struct {
	id          int
	rate        float64
	base        moment
	up          bool
	asleep      time.Duration // suspended until then
	slept       time.Duration // in all
	cut         time.Duration // on the smaller side of a partition until then
	incarnation uint64
	term        uint64
	leader      int // -1: unknown
	commit      uint64
	applied     uint64
	released    uint64
	lessee      lessee
	renewal     moment
	leads       *leading
	removal     *entryKind // that waits for leases to run out ...
	removeWhen  moment     // ... until then; it ends with its term
}

type leading struct {
	term   uint64
	lessor *lessor
	frozen uint64 // commit index once deposed
	over   bool   // somebody else was elected
	latest []bool // newest members, committed or not
	change *entryKind
	when   moment            // of the change
	fences map[uint64]moment // own fenced commits that are not released
}

type letter struct {
	due      time.Duration
	from, to int
	kind     string // heartbeat, ask, grant, push, report
	term     uint64
	index    uint64
	report   report
	grant    grant
	sent     moment
}

type roundUnderWay struct {
	node, asker int
	lead        *leading
	record      *record
	letter      letter
	begun       bool
	proof       bool
	index       uint64
}

type simCall struct {
	what       string // use, disable, enable
	node       int
	start, end time.Duration
	phase      int
	incarnated uint64
	leased     bool
	barrier    uint64
	index      uint64 // of the state that answers, or of the entry
	fence      uint64 // that must be released before the answer
	positive   bool
	answered   bool
}

const simLength = 3 * time.Second

func (w *world) terms() Terms {
	if w.flaw == noMargin {
		return Terms{Length: simLength}
	}
	return Terms{Length: simLength, Margin: simLength / 5}
}

func newWorld(seed uint64, f flaw) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 7)), flaw: f}
	often := func(least, most int) int {
		return int(float64(least) * math.Pow(float64(most)/float64(least), w.rng.Float64()))
	}
	w.climate = climate{
		pause: often(30, 1000), kill: often(40, 1000), cut: often(20, 1000), elect: often(20, 1000),
		change: often(1, 10), write: often(2, 12), stall: often(1, 20),
	}
	switch f { // where such a flaw shows
	case latestMembers:
		w.climate = climate{pause: 1000, kill: 1000, cut: 120, elect: 60, change: 1, write: 3, stall: 1}
	case indexBefore:
		w.climate = climate{pause: 1000, kill: 1000, cut: 120, elect: 1000, change: 50, write: 3, stall: 10}
	case outlivesTerm:
		w.climate = climate{pause: 1000, kill: 1000, cut: 100, elect: 30, change: 1, write: 3, stall: 1}
	case noMargin:
		w.climate = climate{pause: 1000, kill: 1000, cut: 150, elect: 1000, change: 50, write: 4, stall: 1}
	}
	size := 2 + w.rng.IntN(3)
	members := make([]bool, size+1)
	for i := range size {
		members[i] = true
	}
	w.states = []switchState{{enabled: true, members: members}}
	for i := range members {
		w.nodes = append(w.nodes, &simulated{
			id: i, rate: 0.955 + 0.09*float64(w.rng.IntN(4))/3, base: moment(w.rng.Int64N(1e15)),
			up: true, incarnation: w.rng.Uint64() | 1, leader: -1,
		})
	}
	return w
}

func (w *world) clock(n *simulated) moment {
	t := w.now
	if w.flaw == blindClock {
		t -= n.slept
	}
	return n.base + moment(float64(t)*n.rate)
}

func (w *world) awake(n *simulated) bool { return n.up && w.now >= n.asleep }

// connected tells whether two nodes are on the same side.
func (w *world) connected(a, b int) bool { return w.off(w.nodes[a]) == w.off(w.nodes[b]) }

// off tells whether a node is on the side that has no majority.
func (w *world) off(n *simulated) bool { return w.now < n.cut }

func (w *world) head() uint64 { return uint64(len(w.log)) }

func (w *world) append(e entryKind) uint64 {
	s := w.states[len(w.states)-1]
	index := w.head() + 1
	switch e.what {
	case "disable":
		s.enabled, s.fence = false, index
	case "enable":
		s.enabled = true
	default:
		s.members = slices.Clone(s.members)
		s.members[e.node] = e.what == "add"
	}
	w.log, w.states = append(w.log, e), append(w.states, s)
	return index
}

func (w *world) chance(in int) bool { return w.rng.IntN(in) == 0 }

// delay of a message: mostly short, now and then longer than a lease.
func (w *world) delay() time.Duration {
	switch w.rng.IntN(12) {
	case 0:
		return time.Duration(w.rng.Int64N(int64(2 * simLength)))
	case 1, 2:
		return time.Duration(w.rng.Int64N(int64(simLength / 4)))
	}
	return time.Duration(w.rng.Int64N(int64(30 * time.Millisecond)))
}

func (w *world) send(l letter) {
	if w.chance(15) || !w.connected(l.from, l.to) {
		return
	}
	l.due = w.now + w.delay()
	w.mail = append(w.mail, l)
	if w.chance(15) {
		l.due = w.now + w.delay()
		w.mail = append(w.mail, l)
	}
}

// deliver brings what is due to those who are awake.
func (w *world) deliver() {
	mail := w.mail
	w.mail = nil
	for _, l := range mail {
		n := w.nodes[l.to]
		switch {
		case l.due > w.now || n.up && !w.awake(n) || !w.connected(l.from, l.to):
			w.mail = append(w.mail, l)
		case n.up:
			w.receive(n, l)
		}
	}
}

func (w *world) learn(n *simulated, term uint64, leader int) bool {
	if term < n.term {
		return false
	}
	if term > n.term && n.leads != nil {
		n.leads = nil
	}
	n.term, n.leader = term, leader
	return true
}

func (w *world) receive(n *simulated, l letter) {
	lead := n.leads
	switch l.kind {
	case "heartbeat":
		if w.learn(n, l.term, l.from) {
			n.commit = max(n.commit, l.index)
		}
	case "push":
		if w.learn(n, l.term, l.from) {
			n.released = max(n.released, l.grant.released)
			w.send(letter{kind: "report", from: n.id, to: l.from, term: n.term, report: n.report()})
		}
	case "report":
		if lead != nil && lead.lessor != nil && lead.term == l.term {
			lead.lessor.hear(l.report)
		}
	case "ask":
		if lead == nil || lead.lessor == nil || lead.term != l.term {
			return
		}
		members := w.states[n.applied].members
		if w.flaw == latestMembers {
			members = lead.latest
		}
		if !members[l.from] {
			return
		}
		r := &roundUnderWay{node: n.id, asker: l.from, lead: lead, letter: l}
		if w.flaw != indexBefore {
			if r.record = lead.lessor.record(l.report, n.applied, w.clock(n)); r.record == nil {
				return
			}
		}
		w.rounds = append(w.rounds, r)
	case "grant":
		if l.report.incarnation != n.incarnation {
			return // the connection of a process ends with it
		}
		sent := l.sent
		if w.flaw == fromReceipt {
			sent = w.clock(n)
		}
		if w.flaw == earlyIndex {
			l.grant.index = 0
		}
		n.lessee.take(l.grant, sent)
		n.released = max(n.released, l.grant.released)
		w.granted++
	}
}

func (n *simulated) report() report {
	return report{holder: holder{node: fmt.Sprint(n.id), incarnation: n.incarnation}, applied: n.applied, released: n.released}
}

// round takes a round one step further.
func (w *world) round(r *roundUnderWay) (over bool) {
	n := w.nodes[r.node]
	if n.leads != r.lead {
		return true
	}
	if !w.awake(n) || !w.chance(w.climate.stall) || w.off(n) && w.flaw != unproved {
		return false
	}
	if !r.begun {
		r.begun, r.index = true, w.commitOf(n)
		r.proof = r.lead.term == w.newest || w.flaw == unproved
		return false
	}
	if !r.proof {
		if r.record != nil {
			r.lead.lessor.forget(r.record)
		}
		return true
	}
	if w.flaw == indexBefore {
		r.record = r.lead.lessor.record(r.letter.report, n.applied, w.clock(n))
	}
	if r.record == nil || !r.lead.lessor.grant(r.record, r.index) {
		return true
	}
	w.evaluate(n)
	w.send(letter{kind: "grant", from: n.id, to: r.asker, sent: r.letter.sent, report: r.letter.report,
		grant: grant{index: r.index, released: n.released, terms: w.terms()}})
	return true
}

func (w *world) commitOf(n *simulated) uint64 {
	if n.leads.over {
		return n.leads.frozen
	}
	return w.head()
}

// evaluate has a leader compute what is released, and tell it.
func (w *world) evaluate(n *simulated) {
	lead := n.leads
	lead.lessor.hear(n.report())
	now := w.clock(n)
	n.released, _ = lead.lessor.release(now, n.applied)
	for index, since := range lead.fences {
		switch took := now - since; {
		case index <= n.released:
			w.waits = append(w.waits, took)
			delete(lead.fences, index)
		case took >= simLength:
			w.slow = fmt.Sprintf("the fence at %d has waited %s", index, took)
		}
	}
}

// gain makes an elected node a lessor.
func (w *world) gain(n *simulated) {
	lead := n.leads
	if lead.over || w.off(n) {
		return
	}
	n.commit = w.head()
	n.applied = n.commit
	var members []string
	for i, member := range w.states[n.applied].members {
		if member && w.flaw != forgetful {
			members = append(members, fmt.Sprint(i))
		}
	}
	lead.latest = w.states[n.applied].members
	lead.lessor = newLessor(lead.term, members, w.terms(), simLength, n.released, w.clock(n))
	w.renewed++
	if w.flaw == outlivesTerm {
		lead.change, lead.when = n.removal, n.removeWhen
	}
}

func (w *world) elect(n *simulated) {
	members := w.states[w.head()].members
	var voters []*simulated
	size := 0
	for i, member := range members {
		if member {
			size++
			if w.awake(w.nodes[i]) && !w.off(w.nodes[i]) {
				voters = append(voters, w.nodes[i])
			}
		}
	}
	if !slices.Contains(voters, n) || 2*len(voters) <= size {
		return
	}
	w.newest++
	w.rng.Shuffle(len(voters), func(i, j int) { voters[i], voters[j] = voters[j], voters[i] })
	for _, v := range append(voters[:size/2+1], n) {
		v.term, v.leader, v.leads = w.newest, -1, nil
	}
	for _, other := range w.nodes {
		if lead := other.leads; lead != nil && !lead.over {
			lead.over, lead.frozen = true, w.head()
		}
	}
	n.leader = n.id
	n.leads = &leading{term: w.newest, fences: make(map[uint64]moment)}
}

// lead lets a leader do one thing.
func (w *world) lead(n *simulated) {
	lead := n.leads
	if lead.lessor == nil {
		w.gain(n)
		return
	}
	switch w.rng.IntN(8) {
	case 0, 1:
		for _, to := range w.nodes {
			if to != n {
				w.send(letter{kind: "heartbeat", from: n.id, to: to.id, term: lead.term, index: w.commitOf(n)})
			}
		}
	case 2, 3, 4:
		w.evaluate(n)
		for _, to := range w.nodes {
			if to != n {
				w.send(letter{kind: "push", from: n.id, to: to.id, term: lead.term, grant: grant{released: n.released}})
			}
		}
	case 5:
		w.change(n)
	}
}

// change moves a change of members on.
func (w *world) change(n *simulated) {
	lead := n.leads
	switch {
	case lead.change == nil:
		if lead.over || !w.chance(w.climate.change) {
			return
		}
		node := w.rng.IntN(len(w.nodes))
		members := w.states[n.applied].members
		count := 0
		for _, member := range members {
			if member {
				count++
			}
		}
		switch {
		case node == n.id:
		case !members[node]:
			lead.change = &entryKind{what: "add", node: node}
			lead.latest = slices.Clone(members)
			lead.latest[node] = true
			lead.when = w.clock(n) + moment(w.rng.Int64N(int64(simLength/2)))
			lead.lessor.admit(fmt.Sprint(node))
		case count > 2:
			lead.change = &entryKind{what: "remove", node: node}
			if w.flaw != removedAtOnce {
				lead.when = lead.lessor.bar(fmt.Sprint(node), w.clock(n))
			} else {
				lead.when = w.clock(n)
			}
			n.removal, n.removeWhen = lead.change, lead.when
		}
	case !lead.over && !w.off(n) && w.clock(n) >= lead.when:
		n.applied = w.append(*lead.change)
		lead.latest = w.states[n.applied].members
		lead.change, n.removal = nil, nil
	}
}

// call moves a client's call on.
func (w *world) call(c *simCall) {
	n := w.nodes[c.node]
	if !w.awake(n) || n.incarnation != c.incarnated {
		return
	}
	load := func() {
		c.index = n.applied
		c.positive = w.states[n.applied].enabled
		c.fence = w.states[n.applied].fence
	}
	look := func() { c.leased = n.lessee.serving(w.clock(n), n.applied).until > w.clock(n) }
	switch {
	case c.what != "use" && c.phase == 0: // a write reaches the newest leader
		for _, leader := range w.nodes {
			lead := leader.leads
			if lead == nil || lead.over || lead.lessor == nil || !w.awake(leader) || w.off(leader) {
				continue
			}
			c.index = w.append(entryKind{what: c.what})
			leader.applied = c.index
			c.fence = w.states[c.index].fence
			if c.what == "disable" {
				lead.fences[c.index] = w.clock(leader)
			}
			c.phase = 9
		}
	case c.phase == 0 && w.flaw == stateBeforeLease:
		load()
		c.phase = 1
	case c.phase == 0:
		look()
		c.phase = 1
	case c.phase == 1:
		if w.flaw == stateBeforeLease {
			look()
		} else {
			load()
		}
		c.phase = 9
		if !c.leased || !c.positive {
			c.phase = 2
		}
	case c.phase == 2 && !w.off(n):
		c.barrier = w.head() // of a round that begins now
		c.phase = 3
	case c.phase == 3:
		if n.applied >= c.barrier {
			load()
			c.phase = 9
		}
	case c.phase == 9:
		if n.applied >= c.index && (n.released >= c.fence || w.flaw == unreleased && c.what != "disable") {
			c.end, c.answered, c.phase = w.now, true, 10
		}
	}
}

// step lets time pass and one or two things happen.
func (w *world) step() {
	w.now += time.Duration(w.rng.Int64N(int64(25 * time.Millisecond)))
	w.deliver()
	rounds := w.rounds
	w.rounds = nil
	for _, r := range rounds {
		if !w.round(r) {
			w.rounds = append(w.rounds, r)
		}
	}
	for _, n := range w.nodes {
		if !w.awake(n) {
			continue
		}
		if n.applied < n.commit && w.chance(3) {
			n.applied += 1 + w.rng.Uint64N(n.commit-n.applied)
		}
		if lead := n.leads; lead != nil && lead.lessor != nil && n.applied < w.commitOf(n) {
			n.applied = w.commitOf(n)
		}
		if n.leader >= 0 && w.clock(n) >= n.renewal && w.chance(2) {
			n.renewal = w.clock(n) + 500*time.Millisecond
			w.send(letter{kind: "ask", from: n.id, to: n.leader, term: n.term, report: n.report(), sent: w.clock(n)})
		}
		if n.leads != nil && w.chance(4) {
			w.lead(n)
		}
	}
	for _, c := range w.calls {
		if c.phase < 10 && w.chance(2) {
			w.call(c)
		}
	}
	w.disturb()
	w.ask()
}

// disturb pauses, kills, starts and elects.
func (w *world) disturb() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	led := slices.ContainsFunc(w.nodes, func(n *simulated) bool { return n.leads != nil && !n.leads.over && w.awake(n) && !w.off(n) })
	switch {
	case w.chance(w.climate.pause):
		if w.awake(n) {
			pause := time.Duration(w.rng.Int64N(int64(2 * simLength)))
			n.asleep, n.slept = w.now+pause, n.slept+pause
			if n.leads != nil {
				clear(n.leads.fences) // a leader that is paused promises no time
			}
		}
	case w.chance(w.climate.cut):
		n.cut = w.now + time.Duration(w.rng.Int64N(int64(2*simLength)))
	case w.chance(w.climate.kill):
		if n.up {
			n.up, n.leads, n.lessee, n.released, n.leader = false, nil, lessee{}, 0, -1
		}
	case !n.up && w.chance(20):
		n.up, n.incarnation = true, w.rng.Uint64()|1
		n.applied = w.rng.Uint64N(n.applied + 1)
		n.commit, n.renewal = n.applied, 0
	case w.awake(n) && (w.chance(w.climate.elect) || !led && w.chance(10)):
		w.elect(n)
	}
}

// ask begins a call.
func (w *world) ask() {
	open := 0
	for _, c := range w.calls {
		if c.phase < 9 && w.nodes[c.node].incarnation == c.incarnated {
			open++
		}
	}
	if open >= 8 || !w.chance(4) || len(w.calls) >= 120 {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	for _, other := range w.nodes { // where an old state may be
		if w.chance(3) && (w.off(other) || !w.states[w.head()].members[other.id]) {
			n = other
		}
	}
	if !w.awake(n) {
		return
	}
	what := "use"
	if w.chance(w.climate.write) {
		what = "disable"
		if !w.states[w.head()].enabled {
			what = "enable"
		}
	}
	w.calls = append(w.calls, &simCall{what: what, node: n.id, start: w.now, incarnated: n.incarnation})
}

// play runs a schedule to its end.
func play(seed uint64, f flaw) *world {
	w := newWorld(seed, f)
	for range 900 {
		w.step()
	}
	return w
}

// contradiction returns two answers, the second one older although its call
// began after the first was given.
func (w *world) contradiction() string {
	for _, old := range w.calls {
		if !old.answered || old.what != "use" || !old.positive {
			continue
		}
		for _, c := range w.calls {
			if c.answered && c.end < old.start && c.fence > old.index {
				return fmt.Sprintf("%s at node %d was answered at %s from %d or later; a use at node %d that began at %s was answered from %d (lease: %v)",
					c.what, c.node, c.end, c.fence, old.node, old.start, old.index, old.leased)
			}
		}
	}
	return ""
}

// switchModel is what clients are promised: one switch.
var switchModel = porcupine.Model{
	Init: func() any { return true },
	Step: func(state, input, _ any) (bool, any) {
		c := input.(*simCall)
		switch c.what {
		case "disable":
			return true, false
		case "enable":
			return true, true
		}
		return c.positive == state.(bool), state
	},
}

// How long an order of a schedule's calls is looked for. Nearly all take less than
// a millisecond; calls without an answer can make it long.
const (
	judgedSoon = 20 * time.Millisecond
	judgedLate = 30 * time.Second
)

// linear has porcupine judge the same calls, knowing nothing of indexes. It gives
// up after patience.
func (w *world) linear(patience time.Duration) porcupine.CheckResult {
	var ops []porcupine.Operation
	for i, c := range w.calls {
		if !c.answered && (c.what == "use" || c.phase == 0) {
			continue
		}
		ops = append(ops, porcupine.Operation{ClientId: i, Input: c, Call: int64(c.start), Return: int64(c.endsBy())})
	}
	return porcupine.CheckOperationsTimeout(switchModel, ops, patience)
}

// endsBy is when a call has taken effect at the latest, if it ever does.
func (c *simCall) endsBy() time.Duration {
	if !c.answered {
		return math.MaxInt64
	}
	return c.end
}

// explained says whether there is an order of the calls that explains their answers
// in which the writes come as the log has them. That is soon found out, and proves
// as much as an order that was searched for. Where there is none, there may be one
// with the writes in another order.
func (w *world) explained() bool {
	var writes, uses []*simCall
	for _, c := range w.calls {
		switch {
		case c.what != "use" && c.phase >= 9:
			writes = append(writes, c)
		case c.what == "use" && c.answered:
			uses = append(uses, c)
		}
	}
	slices.SortFunc(writes, func(a, b *simCall) int { return cmp.Compare(a.index, b.index) })
	slices.SortStableFunc(uses, func(a, b *simCall) int { return cmp.Compare(a.start, b.start) })
	for i, c := range writes {
		for _, before := range writes[:i] {
			if c.endsBy() < before.start {
				return false
			}
		}
	}
	after := make([]int, len(uses)) // so many writes; as few as can be
	for i, use := range uses {
		least, most := 0, len(writes)
		for j, c := range writes {
			if c.endsBy() < use.start {
				least = j + 1
			}
			if c.start > use.end {
				most = min(most, j)
			}
		}
		for j, before := range uses[:i] {
			if before.end < use.start {
				least = max(least, after[j])
			}
		}
		for least <= most && (least == 0 || writes[least-1].what == "enable") != use.positive {
			least++
		}
		if least > most {
			return false
		}
		after[i] = least
	}
	return true
}
