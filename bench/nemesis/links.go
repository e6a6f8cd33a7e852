package nemesis

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// Links are what carries the nodes' messages to one another, each direction by
// itself.
type Links interface {
	// Cut keeps what goes from one node to another from arriving.
	Cut(from, to string)
	// Impair makes what goes from one node to another late, and loses some.
	Impair(from, to string, by Impairment)
	// Mend takes back what is cut or impaired from one node to another.
	Mend(from, to string)
	// Heal takes back every cut and impairment.
	Heal()
}

// Impairment is what is wrong with a direction.
type Impairment struct {
	Delay  time.Duration // of everything
	Jitter time.Duration // up to so much longer
	Loss   float64       // the part that is lost, 0 to 1
	Rate   int           // bytes a second that get through; 0: as many as there are. [Network] has no such bound
}

// How bad impaired links are, at most.
const (
	slowDelay  = 60 * time.Millisecond // of a whole network; a round trip takes two
	slowerOne  = 250 * time.Millisecond
	worstLoss  = 0.15
	flapPeriod = 400 * time.Millisecond

	strandedAfter = 5 * time.Second // a lease, and as long as a node without one hopes for another

	// Of packets, callers' included.
	leastPacketLoss, worstPacketLoss = 0.05, 0.30
	overtaking                       = 40 * time.Millisecond
	narrowest, widest                = 32 << 10, 256 << 10 // bytes a second, each way of each link
)

// cut does something to the links between the victims and the others, or between
// all. It leaves them as they are to be for the rest of the fault.
func (n *Nemesis) cut(ctx context.Context, a Action, victims []*Process) error {
	random := rand.New(rand.NewPCG(uint64(a.Victim), uint64(a.Length)))
	first := victims[0].ID()
	switch a.Kind {
	case SplitPair:
		n.sever(first, victims[1].ID())
	case StrandOne:
		n.sever(first, victims[1].ID())
		sleep(ctx, strandedAfter)
	case SplitHalves, Bridge:
		n.split(victims, a.Kind == Bridge)
	case Shatter:
		n.eachPair(n.sever)
	case OneWayRing:
		for i, p := range n.Processes {
			n.Links.Cut(p.ID(), n.Processes[(i+1)%len(n.Processes)].ID())
		}
	case Swizzle:
		n.swizzle(ctx, a, random)
	case Flap:
		for end := time.Now().Add(a.Length); time.Now().Before(end); {
			n.eachOther(first, n.sever)
			sleep(ctx, flapPeriod/4+time.Duration(random.Int64N(int64(flapPeriod))))
			n.Links.Heal()
			sleep(ctx, time.Duration(random.Int64N(int64(flapPeriod))))
		}
		n.eachOther(first, n.sever)
	case SlowNetwork, Lossy:
		by := Impairment{Delay: time.Duration(random.Int64N(int64(slowDelay)))}
		by.Jitter = by.Delay / 2
		if a.Kind == Lossy {
			by = Impairment{Loss: worstLoss * (0.1 + 0.9*random.Float64())}
		}
		n.eachPair(func(a, b string) { n.impair(a, b, by) })
	case SlowOne:
		by := Impairment{Delay: slowerOne/5 + time.Duration(random.Int64N(int64(slowerOne)))}
		by.Jitter = by.Delay / 4
		n.eachOther(first, func(a, b string) { n.impair(a, b, by) })
	case DeafenLeader, DeafenOne, StopDeaf:
		n.eachOther(first, func(first, other string) { n.Links.Cut(other, first) })
	case MuteLeader, MuteOne:
		n.eachOther(first, n.Links.Cut)
	case Alone:
		n.eachOther(first, n.sever)
		n.sever(first, n.Callers)
	case Unanswering:
		n.eachOther(first, n.Links.Cut)
		n.Links.Cut(first, n.Callers)
	case PacketLoss, Overtaking, Narrow:
		by := Impairment{Loss: leastPacketLoss + (worstPacketLoss-leastPacketLoss)*random.Float64()}
		switch a.Kind {
		case Overtaking:
			by = Impairment{Delay: time.Millisecond, Jitter: overtaking/4 + time.Duration(random.Int64N(int64(overtaking)))}
		case Narrow:
			by = Impairment{Rate: narrowest + random.IntN(widest-narrowest)}
		}
		n.eachPair(func(a, b string) { n.impair(a, b, by) })
		for _, p := range n.Processes {
			n.impair(p.ID(), n.Callers, by)
		}
	default:
		n.eachOther(first, n.sever)
	}
	if a.Kind == StopDeaf {
		sleep(ctx, deafBeforeStop)
		return victims[0].Stop(stopPatience)
	}
	return nil
}

// split severs some from all others, but for one of these where there is a bridge.
func (n *Nemesis) split(some []*Process, bridge bool) {
	for _, p := range n.Processes {
		if slices.Contains(some, p) {
			continue
		}
		if bridge {
			bridge = false
			continue
		}
		for _, s := range some {
			n.sever(s.ID(), p.ID())
		}
	}
}

// swizzle has links fall silent one by one until half of the time is over, and
// come back in another order.
func (n *Nemesis) swizzle(ctx context.Context, a Action, random *rand.Rand) {
	var all [][2]string
	n.eachPair(func(a, b string) { all = append(all, [2]string{a, b}, [2]string{b, a}) })
	shuffle := func() { random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) }
	step := a.Length / time.Duration(2*len(all))
	shuffle()
	for _, link := range all {
		n.Links.Cut(link[0], link[1])
		sleep(ctx, step)
	}
	shuffle()
	for _, link := range all {
		n.Links.Mend(link[0], link[1])
		sleep(ctx, step)
	}
}

func (n *Nemesis) sever(a, b string) {
	n.Links.Cut(a, b)
	n.Links.Cut(b, a)
}

func (n *Nemesis) impair(a, b string, by Impairment) {
	n.Links.Impair(a, b, by)
	n.Links.Impair(b, a, by)
}

// eachOther calls do with one node and every other one.
func (n *Nemesis) eachOther(node string, do func(node, other string)) {
	for _, p := range n.Processes {
		if p.ID() != node {
			do(node, p.ID())
		}
	}
}

// eachPair calls do with any two nodes once.
func (n *Nemesis) eachPair(do func(a, b string)) {
	for i, p := range n.Processes {
		for _, q := range n.Processes[i+1:] {
			do(p.ID(), q.ID())
		}
	}
}
