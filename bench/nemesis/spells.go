package nemesis

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// The kinds whose faults overlap: one begins or ends while another lasts, so that
// the cluster passes through the states between them, some of which have no
// majority. In such states were found, for instance, stale leaders that are
// believed (hashicorp/raft#695), transfers that never end (#696) and logs that
// conflict with the next leader's (#697).
const (
	PauseCut     Kind = "pause-cut"        // the leader is cut off, and another node paused, killed or cut off: either begins first, either ends first
	CutPaused    Kind = "cut-paused"       // the leader is cut off and is paused or killed itself, likewise
	InTurn       Kind = "change-in-change" // two or three leaders one after the other, each before the last one is back
	Degraded     Kind = "degraded"         // one node is away all the time, and short faults meet the others one after the other
	ReturnChange Kind = "return-change"    // a node comes back from being away, and about then the leader goes
	KillMajority Kind = "kill-majority"    // too few are left, but some; not all at one time, nor started again so
	TransferCut  Kind = "transfer-cut"     // leadership is handed on while a node is away, and then the leader goes
)

// OverlapKinds are those whose faults overlap. They need [Links], but for
// [KillMajority], and [TransferCut] needs an [Operator].
func OverlapKinds() []Kind {
	return []Kind{PauseCut, CutPaused, InTurn, Degraded, ReturnChange, KillMajority, TransferCut}
}

// absence is how a node is away.
type absence string

const (
	killed    absence = "killed"
	paused    absence = "paused"
	cutOff    absence = "cut off"
	muted     absence = "muted"
	deafened  absence = "deafened"
	handingOn absence = "asked to hand on" // not away: it happens where the spell begins
)

// cuts says that it takes links to be away like that.
func (a absence) cuts() bool { return a == cutOff || a == muted || a == deafened }

// whom says which node a spell meets. It is found when the spell begins, among
// those that no spell meets then.
type whom int

const (
	anyone   whom = iota
	leading       // who leads, where that is known
	other         // who does not lead
	theFirst      // whom the first spell met, whether it is over or not
)

// spell is a time for which one node is away.
type spell struct {
	whom       whom
	how        absence
	pick       int           // chooses the node where whom leaves a choice
	begin, end time.Duration // since the fault's beginning
	// await has the spell begin, and everything behind it happen, later: when
	// somebody leads whom no spell meets, but not later than by so much.
	await time.Duration
}

// plan is what spells an overlapping fault has in a cluster of so many nodes, in
// the order in which they begin. It is made of the action alone.
func plan(a Action, nodes int) []spell {
	d := dice{rand.New(rand.NewPCG(uint64(a.Victim), uint64(a.Length)))}
	var spells []spell
	switch a.Kind {
	case PauseCut:
		spells = d.lap(a.Length, spell{whom: leading, how: d.links()}, spell{whom: other, how: pick(d, paused, paused, killed, cutOff)})
	case CutPaused:
		spells = d.lap(a.Length, spell{whom: leading, how: d.links()}, spell{whom: leading, how: pick(d, paused, paused, paused, killed)})
		spells[1].whom = theFirst
	case InTurn:
		spells = d.inTurn(a.Length)
	case Degraded:
		spells = d.degraded(a.Length)
	case ReturnChange:
		at := d.parts(a.Length, 3) // away; from its return to the change, or from the change to its return; the change
		spells = []spell{
			{whom: other, how: pick(d, killed, killed, cutOff, paused), end: at[0]},
			{whom: leading, how: d.absence(), begin: at[0] + min(at[1], a.Length/4), end: a.Length},
		}
		if d.IntN(3) == 0 {
			spells[0].end, spells[1].begin = spells[1].begin, spells[0].end
		}
	case KillMajority:
		need := nodes/2 + 1
		for i := range need + d.IntN(max(nodes-need, 1)) {
			s := spell{how: killed, begin: d.upTo(a.Length / 2), end: a.Length/2 + d.upTo(a.Length/2)}
			if i == 0 && d.IntN(2) == 0 {
				s.whom = leading
			}
			spells = append(spells, s)
		}
		spells[len(spells)-1].end = a.Length
	case TransferCut:
		at := d.parts(a.Length, 4)
		spells = []spell{
			{whom: other, how: pick(d, paused, cutOff, deafened, killed), end: a.Length - at[3]},
			{whom: leading, how: handingOn, begin: at[0], end: at[0]},
			{whom: leading, how: d.absence(), begin: at[0] + min(at[1], a.Length/8), end: a.Length},
		}
	}
	for i := range spells {
		spells[i].pick = d.IntN(1 << 16)
	}
	slices.SortStableFunc(spells, func(a, b spell) int { return cmp.Compare(a.begin, b.begin) })
	return spells
}

// dice draws what is random of a plan.
type dice struct{ *rand.Rand }

func pick(d dice, from ...absence) absence { return from[d.IntN(len(from))] }

// links is how a leader is away that goes on.
func (d dice) links() absence { return pick(d, cutOff, cutOff, muted, deafened) }

func (d dice) absence() absence {
	return pick(d, killed, killed, killed, cutOff, cutOff, cutOff, paused, paused, muted, deafened)
}

func (d dice) upTo(most time.Duration) time.Duration {
	return time.Duration(d.Int64N(int64(max(most, 1))))
}

// parts divides a time at random. One part is mostly much longer than the others,
// so that short ones are within a timeout and long ones outlast it.
func (d dice) parts(whole time.Duration, into int) []time.Duration {
	weights, sum := make([]float64, into), 0.0
	for i := range weights {
		r := d.Float64()
		weights[i] = 0.02 + r*r*r
		sum += weights[i]
	}
	parts := make([]time.Duration, into)
	for i, w := range weights {
		parts[i] = time.Duration(w / sum * float64(whole))
	}
	return parts
}

// lap has two spells lap over, in any of the four orders of their ends.
func (d dice) lap(whole time.Duration, one, two spell) []spell {
	if d.IntN(2) == 0 {
		one, two = two, one
	}
	at := d.parts(whole, 3)
	two.begin, one.end, two.end = at[0], whole, at[0]+at[1]
	if d.IntN(2) == 0 {
		one.end, two.end = two.end, one.end
	}
	return []spell{one, two}
}

// inTurn has one leader after the other be away, each from before the last one is
// back; the last two come back in any order.
func (d dice) inTurn(whole time.Duration) []spell {
	spells := make([]spell, 2+d.IntN(2))
	at := d.parts(2*whole, 2*len(spells))
	now := time.Duration(0)
	for i := range spells {
		spells[i] = spell{whom: leading, how: d.absence(), begin: now}
		now += at[2*i]
		if i > 0 {
			spells[i].await = whole
			spells[i-1].end = now
		}
		if i < len(spells)-1 {
			now += at[2*i+1]
		}
	}
	last := len(spells) - 1
	spells[last].end = 2 * whole
	if d.IntN(2) == 0 {
		spells[last].end, spells[last-1].end = spells[last-1].end, spells[last].end
	}
	return spells
}

// degraded has one node be away, and others for short times meanwhile.
func (d dice) degraded(whole time.Duration) []spell {
	short := 2 + d.IntN(2)
	at := d.parts(2*whole, 2*short+1)
	spells := []spell{{how: pick(d, killed, cutOff), end: 2 * whole}}
	if d.IntN(3) == 0 {
		spells[0].whom = leading
	}
	now := at[0]
	for i := range short {
		s := spell{whom: leading, how: d.absence(), begin: now, end: now + at[2*i+1]}
		if d.IntN(3) == 0 {
			s.whom = other
		}
		spells, now = append(spells, s), s.end+at[2*i+2]
	}
	return spells
}
