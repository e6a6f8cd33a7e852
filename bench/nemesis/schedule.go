package nemesis

import (
	"math/rand/v2"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds. "Leader" is the node that leads when the fault is injected; where
// none is known, any node.
const (
	KillLeader    Kind = "kill-leader"    // SIGKILL, and started again after a while
	KillOne       Kind = "kill-one"       // the same with any node
	KillAll       Kind = "kill-all"       // all at once
	KillMinority  Kind = "kill-minority"  // as many at once as the cluster goes on without, the leader among them
	StopLeader    Kind = "stop-leader"    // SIGTERM, and started again once it has ended and a while is over
	Storm         Kind = "restart-storm"  // one node is killed and started again, over and over
	PauseLeader   Kind = "pause-leader"   // SIGSTOP, then SIGCONT
	PauseOne      Kind = "pause-one"      //
	LongPause     Kind = "long-pause"     // any node, every other time the leader, is paused for up to six times as long as other faults last
	IsolateLeader Kind = "isolate-leader" // nothing goes to or from it
	IsolateOne    Kind = "isolate-one"    //
	MuteLeader    Kind = "mute-leader"    // it hears the others, they do not hear it
	DeafenLeader  Kind = "deafen-leader"  // they hear it, it does not hear them
	SplitPair     Kind = "split-pair"     // two followers' worth of nodes cannot reach each other; the rest reach both
	SplitHalves   Kind = "split-halves"   // as many as make no majority, the leader among them or not, and all others cannot reach each other
	Bridge        Kind = "bridge"         // the same, but for one of the others, who reaches all and may be the leader
	StopDeaf      Kind = "stop-deaf"      // a leader is deafened and, before it hears again, stopped: what it has under way may be done

	StormAll    Kind = "storm-all"    // all nodes are killed and started again, over and over, each when it is its turn
	MuteOne     Kind = "mute-one"     // any node hears the others, they do not hear it
	DeafenOne   Kind = "deafen-one"   //
	StrandOne   Kind = "strand-one"   // any node but the leader and the leader cannot reach each other, until its lease is over and for a while; the rest reach both
	Shatter     Kind = "shatter"      // no node reaches any other
	OneWayRing  Kind = "one-way-ring" // of any two neighbours in a ring of all nodes only one hears the other
	Flap        Kind = "flap"         // the leader is cut off and back, over and over
	Swizzle     Kind = "swizzle"      // links fall silent one by one, and come back in another order
	SlowNetwork Kind = "slow-network" // everything arrives late, and not evenly so
	SlowOne     Kind = "slow-one"     // what goes to and from one node arrives very late
	Lossy       Kind = "lossy"        // a part of what is sent is lost

	Alone       Kind = "alone-leader"    // nothing goes to or from it, nothing of its callers either
	Unanswering Kind = "unanswering-one" // any node gets what others and callers send; nothing that it sends arrives
	PacketLoss  Kind = "packet-loss"     // 5 to 30 % of all packets are lost
	Overtaking  Kind = "overtaking"      // packets arrive in another order
	Narrow      Kind = "narrow"          // little gets through in a second, and what there is no room for is lost

	TransferStorm Kind = "transfer-storm" // leadership is handed on every second
	DemoteOne     Kind = "demote-one"     // a node loses its vote, and gets it back
	ReplaceOne    Kind = "replace-one"    // a node is removed, emptied, and joins anew
	StrictMode    Kind = "strict-mode"    // every use of a key asks for a read index meanwhile
	LeaveBehind   Kind = "leave-behind"   // a node is down until the others' logs do not reach back to where it was
)

// ProcessKinds are those that need no network of their own.
func ProcessKinds() []Kind {
	return []Kind{KillLeader, KillOne, KillAll, KillMinority, StopLeader, Storm, StormAll, PauseLeader, PauseOne, LongPause}
}

// NetworkKinds are those that need [Links].
func NetworkKinds() []Kind {
	return []Kind{
		IsolateLeader, IsolateOne, MuteLeader, DeafenLeader, SplitPair, SplitHalves, Bridge, StopDeaf,
		MuteOne, DeafenOne, StrandOne, Shatter, OneWayRing, Flap, Swizzle, SlowNetwork, SlowOne, Lossy,
	}
}

// PacketKinds are those that need [Links] which carry callers' packets, too: a
// [Packets] and [Nemesis.Callers].
func PacketKinds() []Kind { return []Kind{Alone, Unanswering, PacketLoss, Overtaking, Narrow} }

// OperatorKinds are those that need an [Operator].
func OperatorKinds() []Kind {
	return []Kind{TransferStorm, DemoteOne, ReplaceOne, LeaveBehind, StrictMode}
}

// Action is one planned fault.
type Action struct {
	Kind   Kind
	Victim int           // chooses the node, where it is not the leader, and the half that the leader is in
	Length time.Duration // from the injection to the healing
	Gap    time.Duration // of peace after it
}

// Schedule is an endless sequence of actions. Every kind comes once before any
// comes again.
type Schedule struct {
	random  *rand.Rand
	kinds   []Kind
	longest time.Duration
	dealt   int
}

// Bounds of what is drawn.
const (
	shortest = 100 * time.Millisecond
	maxGap   = time.Second
	longer   = 6 // times as long as other faults a long pause lasts at most
)

// NewSchedule draws faults of these kinds that last for 0.1 s up to longest,
// but for [LongPause].
func NewSchedule(seed uint64, longest time.Duration, kinds ...Kind) *Schedule {
	return &Schedule{
		random: rand.New(rand.NewPCG(seed, 0x6e656d65736973)), kinds: append([]Kind(nil), kinds...),
		longest: max(longest, shortest+1),
	}
}

// Round is how many actions contain every kind once.
func (s *Schedule) Round() int { return len(s.kinds) }

// Next draws the next action.
func (s *Schedule) Next() Action {
	if s.dealt%len(s.kinds) == 0 {
		s.random.Shuffle(len(s.kinds), func(i, j int) { s.kinds[i], s.kinds[j] = s.kinds[j], s.kinds[i] })
	}
	kind := s.kinds[s.dealt%len(s.kinds)]
	s.dealt++
	// Short ones come more often than long ones: they cost less of a run, and
	// much goes wrong at the very edge of a timeout.
	length, halvings := s.longest, s.random.IntN(4)
	if kind == LongPause {
		length, halvings = longer*length, 0
	}
	for range halvings {
		length /= 2
	}
	length = shortest + time.Duration(s.random.Int64N(int64(max(length-shortest, 1))))
	return Action{
		Kind: kind, Victim: s.random.IntN(1 << 16), Length: length,
		Gap: time.Duration(s.random.Int64N(int64(maxGap))),
	}
}
