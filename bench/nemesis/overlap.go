package nemesis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// glance is how long one look at who leads may take: paused nodes do not answer.
const glance = 300 * time.Millisecond

// overlap plays the spells of an action, and returns when all are over. met are
// the nodes that were away, as often as they were, in the order in which they went.
func (n *Nemesis) overlap(ctx context.Context, a Action) (met []string, detail string, err error) {
	p := &play{Nemesis: n, started: time.Now()}
	for _, s := range plan(a, len(n.Processes)) {
		if s.how.cuts() && n.Links == nil {
			return nil, "", errors.New("there is no network to cut")
		}
		if s.how == handingOn && n.Operator == nil {
			return nil, "", errors.New("there is nobody to operate the cluster")
		}
		p.spells = append(p.spells, played{spell: s, node: -1})
	}
	asking, stop := context.WithCancel(ctx)
	defer func() { stop(); p.asked.Wait() }()
	for _, e := range edges(p.spells) {
		sleep(ctx, time.Until(p.started.Add(e.at+p.late)))
		s := &p.spells[e.spell]
		switch {
		case !e.begins:
			s.on = false
		case s.how == handingOn:
			p.handOn(asking)
			continue
		default:
			looking := time.Now()
			p.await(ctx, s.await)
			s.node = p.whom(ctx, s.spell)
			p.late += time.Since(looking) // no spell is shorter for it
			if s.node < 0 {
				continue // all are away
			}
			s.on = true
			met = append(met, n.Processes[s.node].ID())
		}
		if s.node < 0 {
			continue
		}
		p.tell(*s)
		if err := p.reconcile(); err != nil {
			return met, "", err
		}
	}
	return met, strings.Join(p.told, ", "), nil
}

// play is an overlapping fault that goes on.
type play struct {
	*Nemesis
	started time.Time
	spells  []played
	late    time.Duration // by which everything is later than planned
	told    []string
	asked   sync.WaitGroup // who hands on
}

// played is a spell that has begun, or will.
type played struct {
	spell
	node int  // that it meets; -1: none yet, or there was none
	on   bool // it has begun and is not over
}

// edge is where a spell begins or ends.
type edge struct {
	at     time.Duration
	spell  int
	begins bool
}

func edges(spells []played) []edge {
	var all []edge
	for i, s := range spells {
		all = append(all, edge{s.begin, i, true})
		if s.how != handingOn {
			all = append(all, edge{s.end, i, false})
		}
	}
	// Where two are at one time the one of the spell that began first is first.
	slices.SortStableFunc(all, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	return all
}

// tell says and writes down that a spell begins or ends.
func (p *play) tell(s played) {
	text := p.Processes[s.node].ID() + " " + string(s.how)
	if !s.on {
		text += " no more"
	}
	p.say("%8s   %s", p.Recorder.Now().Round(time.Millisecond), text)
	p.told = append(p.told, fmt.Sprintf("%s at %.2fs", text, time.Since(p.started).Seconds()))
}

// handOn asks for leadership to be handed on, and waits for no answer: that it
// comes to nothing is likely.
func (p *play) handOn(ctx context.Context) {
	p.say("%8s   the leader is %s", p.Recorder.Now().Round(time.Millisecond), handingOn)
	p.told = append(p.told, fmt.Sprintf("the leader %s at %.2fs", handingOn, time.Since(p.started).Seconds()))
	p.asked.Go(func() { _ = p.Operator.Transfer(ctx) })
}

// await waits until somebody leads who is not away, or until patience is over.
func (p *play) await(ctx context.Context, patience time.Duration) {
	if patience == 0 {
		return
	}
	within(ctx, patience, func() bool {
		leads := p.leads(ctx)
		return leads >= 0 && !p.away(leads)
	})
}

// leads is the node that leads, as far as that can be seen; -1: none.
func (p *play) leads(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	return p.index(p.Leader(ctx))
}

// away says that a spell meets a node now.
func (p *play) away(node int) bool {
	return slices.ContainsFunc(p.spells, func(s played) bool { return s.on && s.node == node })
}

// whom is the node that a spell meets which begins now; -1: none is left.
func (p *play) whom(ctx context.Context, s spell) int {
	if s.whom == theFirst {
		return p.spells[0].node
	}
	leads := -1
	if s.whom != anyone {
		leads = p.leads(ctx)
	}
	if s.whom == leading && leads >= 0 && !p.away(leads) {
		return leads
	}
	rest := -1 // who leads is met only where there is no other
	for i := range p.Processes {
		switch node := (s.pick + i) % len(p.Processes); {
		case p.away(node):
		case s.whom == other && node == leads:
			rest = node
		default:
			return node
		}
	}
	return rest
}

// reconcile makes every process and link what the spells that are on say.
func (p *play) reconcile() error {
	var problems []error
	for i, process := range p.Processes {
		switch {
		case p.is(i, killed):
			problems = append(problems, process.Kill())
		case p.is(i, paused):
			problems = append(problems, process.Start(), process.Pause())
		default:
			problems = append(problems, process.Start(), process.Resume())
		}
		for j, to := range p.Processes {
			switch {
			case i == j || p.Links == nil:
			case p.is(i, cutOff) || p.is(j, cutOff) || p.is(i, muted) || p.is(j, deafened):
				p.Links.Cut(process.ID(), to.ID())
			default:
				p.Links.Mend(process.ID(), to.ID())
			}
		}
	}
	return errors.Join(problems...)
}

// is says that a node is away like that.
func (p *play) is(node int, how absence) bool {
	return slices.ContainsFunc(p.spells, func(s played) bool { return s.on && s.node == node && s.how == how })
}
