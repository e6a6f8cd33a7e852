package cluster

import (
	"math/rand/v2"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/transport"
)

func voters(ids ...raft.ServerID) (servers []raft.Server) {
	for _, id := range ids {
		servers = append(servers, raft.Server{ID: id, Suffrage: raft.Voter})
	}
	return servers
}

// TestMajority counts voters and nobody else.
func TestMajority(t *testing.T) {
	f := func(want bool, servers []raft.Server, has ...raft.ServerID) {
		t.Helper()
		in := map[raft.ServerID]bool{}
		for _, id := range has {
			in[id] = true
		}
		if got := majority(servers, func(id raft.ServerID) bool { return in[id] }); got != want {
			t.Errorf("%v of %v: %v, want %v", has, servers, got, want)
		}
	}
	f(false, nil)
	f(true, voters("a"), "a")
	f(false, voters("a"), "b")
	f(false, voters("a", "b"), "a")
	f(true, voters("a", "b"), "a", "b")
	f(false, voters("a", "b", "c"), "a", "x", "y")
	f(true, voters("a", "b", "c"), "a", "c")
	f(false, voters("a", "b", "c", "d"), "a", "b")
	f(true, voters("a", "b", "c", "d"), "a", "b", "d")
	mixed := append(voters("a", "b", "c"), raft.Server{ID: "n", Suffrage: raft.Nonvoter}, raft.Server{ID: "s", Suffrage: raft.Staging})
	f(false, mixed, "a", "n", "s")
	f(true, mixed, "a", "b")
	f(false, mixed[3:], "n", "s")
}

// TestClaim takes one claim through what may happen to it.
func TestClaim(t *testing.T) {
	type world struct {
		witness
		term, ready  uint64
		leading      bool
		newest, done []raft.Server
	}
	f := func(what string, proved, refuted bool, do func(*world)) {
		t.Helper()
		w := &world{term: 5, ready: 5, leading: true, newest: voters("a", "b", "c"), done: voters("a", "b", "c")}
		w.witness = witness{
			self:    "a",
			leads:   func() (uint64, bool) { return w.term, w.leading },
			ready:   func(term uint64) bool { return w.ready == term },
			commit:  func() uint64 { return 77 },
			members: func() [2][]raft.Server { return [2][]raft.Server{w.newest, w.done} },
			acks:    new(transport.Ledger),
		}
		before := w.acks.Number() // to b, under way when the round begins
		c, ok := w.claim()
		if !ok || c != (claim{term: 5, after: before, index: 77}) {
			t.Fatalf("%s: claim %+v, %v", what, c, ok)
		}
		do(w)
		if gotProved, gotRefuted := w.weigh(c); gotProved != proved || gotRefuted != refuted {
			t.Errorf("%s: proved %v, refuted %v", what, gotProved, gotRefuted)
		}
	}
	ack := func(w *world, peer raft.ServerID) { w.acks.Answered(peer, w.acks.Number(), 5, 5) }

	f("nothing", false, false, func(w *world) {})
	f("an ack", true, false, func(w *world) { ack(w, "b") })
	f("acks to what was sent before", false, false, func(w *world) {
		w.acks.Answered("b", 1, 5, 5)
		w.acks.Answered("c", 1, 5, 5)
		w.acks.Answered("b", 1, 5, 5)
	})
	f("an ack of an older term", false, false, func(w *world) { w.acks.Answered("b", w.acks.Number(), 4, 4) })
	f("an ack of one without a vote", false, false, func(w *world) {
		w.newest = append(w.newest, raft.Server{ID: "n", Suffrage: raft.Nonvoter})
		ack(w, "n")
	})
	f("an ack of a stranger", false, false, func(w *world) { ack(w, "x") })
	f("a refusal from a newer term", false, true, func(w *world) { ack(w, "b"); w.acks.Answered("c", w.acks.Number(), 5, 6) })
	f("an old refusal", true, false, func(w *world) { ack(w, "b"); w.acks.Answered("c", 1, 5, 6) })
	f("another term", false, true, func(w *world) { ack(w, "b"); w.term, w.ready = 7, 7 })
	f("no leader any more", false, true, func(w *world) { ack(w, "b"); w.leading = false })
	f("a majority of the newest alone", false, false, func(w *world) { w.newest = voters("a"); w.done = voters("a", "b") })
	f("a majority of the applied alone", false, false, func(w *world) { w.newest = voters("a", "b", "c", "d"); ack(w, "b") })
	f("a majority of both", true, false, func(w *world) { w.newest = voters("a", "b", "c", "d"); ack(w, "b"); ack(w, "d") })
	f("a single node", true, false, func(w *world) { w.newest, w.done = voters("a"), voters("a") })
	f("a leader that has no vote", false, false, func(w *world) { w.newest = voters("b", "c"); ack(w, "b") })
	f("nothing applied", false, false, func(w *world) { ack(w, "b"); w.done = nil })

	unready := witness{acks: new(transport.Ledger), commit: func() uint64 { return 1 }, ready: func(uint64) bool { return false }}
	for _, leading := range []bool{true, false} {
		unready.leads = func() (uint64, bool) { return 5, leading }
		if _, ok := unready.claim(); ok {
			t.Error("a claim without an applied entry of the term")
		}
	}
}

// electorate is Raft reduced to what a round depends on: terms, votes, changes
// of members by a leader of term 1 (number zero), and messages that are
// delayed, reordered, repeated and lost. Steps come in any order, so that a
// pause of anyone at any point is among them.
type electorate struct {
	rng     *rand.Rand
	nodes   []*elector
	configs [][]raft.Server // by index; what the leader appended
	match   []int           // which configuration each is known to have
	commit  int
	applied int
	ledger  transport.Ledger
	ways    []message
	elected bool // somebody was, in a higher term
}

type elector struct {
	term   uint64
	config int // the newest in its log
}

type message struct {
	answer   bool
	peer     int
	number   uint64
	config   int
	answered uint64
}

const electors = 5

var names = [electors]raft.ServerID{"a", "b", "c", "d", "e"}

func newElectorate(rng *rand.Rand) *electorate {
	e := &electorate{rng: rng, match: make([]int, electors)}
	for range electors {
		e.nodes = append(e.nodes, &elector{term: 1})
	}
	e.configs = [][]raft.Server{voters(names[:1+rng.IntN(electors)]...)}
	return e
}

func (e *electorate) witness() *witness {
	return &witness{
		self:    names[0],
		leads:   func() (uint64, bool) { return e.nodes[0].term, e.nodes[0].term == 1 },
		ready:   func(uint64) bool { return true },
		commit:  func() uint64 { return 1 },
		members: func() [2][]raft.Server { return [2][]raft.Server{e.configs[len(e.configs)-1], e.configs[e.applied]} },
		acks:    &e.ledger,
	}
}

// step lets one thing happen.
func (e *electorate) step() {
	switch e.rng.IntN(20) {
	case 0, 1, 2, 3, 4:
		e.ways = append(e.ways, message{peer: 1 + e.rng.IntN(electors-1), number: e.ledger.Number(), config: len(e.configs) - 1})
	case 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15:
		if len(e.ways) > 0 {
			e.deliver()
		}
	case 16, 17, 18:
		e.reconfigure()
	case 19:
		e.elect()
	}
}

func (e *electorate) deliver() {
	i := e.rng.IntN(len(e.ways))
	m := e.ways[i]
	if e.rng.IntN(4) > 0 { // else it is repeated later
		e.ways[i] = e.ways[len(e.ways)-1]
		e.ways = e.ways[:len(e.ways)-1]
	}
	peer := e.nodes[m.peer]
	switch {
	case e.rng.IntN(10) == 0: // lost
	case !m.answer:
		if peer.term == 1 {
			peer.config = max(peer.config, m.config)
		}
		m.answer, m.answered = true, peer.term
		e.ways = append(e.ways, m)
	default:
		e.ledger.Answered(names[m.peer], m.number, 1, m.answered)
		if m.answered == 1 {
			e.match[m.peer] = max(e.match[m.peer], m.config)
		}
	}
}

// reconfigure commits, applies, or gives or takes a vote; one change at a time.
func (e *electorate) reconfigure() {
	last := len(e.configs) - 1
	e.match[0] = last
	if majority(e.configs[last], func(id raft.ServerID) bool { return e.match[id[0]-'a'] == last }) {
		e.commit = last
	}
	switch {
	case e.rng.IntN(2) == 0:
		e.applied += e.rng.IntN(e.commit - e.applied + 1)
	case e.commit == last && e.nodes[0].term == 1:
		change := 1 + e.rng.IntN(electors-1)
		var next []raft.Server
		for i, id := range names {
			has := majority(voters(id), func(id raft.ServerID) bool {
				for _, server := range e.configs[last] {
					if server.ID == id {
						return true
					}
				}
				return false
			})
			if has != (i == change) {
				next = append(next, voters(id)...)
			}
		}
		e.configs = append(e.configs, next)
		e.nodes[0].config = last + 1
	}
}

// elect has somebody ask for the votes of all, some of which come.
func (e *electorate) elect() {
	candidate := e.nodes[1+e.rng.IntN(electors-1)]
	candidate.term++
	reached := map[raft.ServerID]bool{}
	for i, voter := range e.nodes {
		if voter == candidate {
			reached[names[i]] = true
		} else if i == 0 && e.rng.IntN(8) > 0 {
			continue // it is cut off, or paused
		} else if e.rng.IntN(2) == 0 && voter.term < candidate.term {
			voter.term = candidate.term
			reached[names[i]] = voter.config <= candidate.config
		}
	}
	if majority(e.configs[candidate.config], func(id raft.ServerID) bool { return reached[id] }) {
		e.elected = true
	}
}

// stale plays a schedule and counts the rounds that proved something, and those
// of them that began when somebody else was leader already.
func stale(seed uint64, spoil func(*witness, *claim)) (proved, wrong int) {
	e := newElectorate(rand.New(rand.NewPCG(seed, 0)))
	w := e.witness()
	for range e.rng.IntN(100) {
		e.step()
	}
	for range 8 {
		c, ok := w.claim()
		if !ok {
			return proved, wrong
		}
		already := e.elected
		spoil(w, &c)
		for range 40 {
			if done, refuted := w.weigh(c); done {
				proved++
				if already {
					wrong++
				}
				break
			} else if refuted {
				break
			}
			e.step()
		}
	}
	return proved, wrong
}

// TestRoundsNeverLie plays thousands of schedules of delays, pauses, elections
// and changes of members: no round proves leadership to a deposed leader. The
// same schedules find fault with rounds that count any ack, or ask the wrong
// voters.
func TestRoundsNeverLie(t *testing.T) {
	const schedules = 2000
	run := func(what string, mayLie bool, spoil func(*witness, *claim)) {
		t.Helper()
		proved, wrong, first := 0, 0, uint64(0)
		for seed := range uint64(schedules) {
			p, bad := stale(seed, spoil)
			if proved, wrong = proved+p, wrong+bad; bad > 0 && first == 0 {
				first = seed
			}
		}
		t.Logf("%s: %d rounds proved, %d wrong", what, proved, wrong)
		if proved < schedules/4 {
			t.Errorf("%s: %d rounds proved anything", what, proved)
		}
		if wrong > 0 != mayLie {
			t.Errorf("%s: %d rounds lied, first with seed %d", what, wrong, first)
		}
	}
	run("as it is", false, func(*witness, *claim) {})
	run("any ack", true, func(_ *witness, c *claim) { c.after = 0 })
	members := func(i int) func(*witness, *claim) {
		return func(w *witness, _ *claim) {
			both := w.members
			w.members = func() [2][]raft.Server {
				m := both()
				return [2][]raft.Server{m[i], m[i]}
			}
		}
	}
	run("the newest members alone", false, members(0)) // as the argument has it
	run("the applied members alone", true, members(1))
}
