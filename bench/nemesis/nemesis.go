package nemesis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// ErrNotRecovered: the cluster did not serve again in time after a fault was
// healed.
var ErrNotRecovered = errors.New("the cluster did not recover")

// Nemesis breaks one cluster.
type Nemesis struct {
	Processes []*Process
	Network   *Network // nil: only kinds that need none
	Recorder  *history.Recorder
	// Leader is the id of the node that leads; empty when none is known.
	Leader func(context.Context) string
	// Recovered returns nil when every node serves, or an error when that takes
	// too long. It is asked after each fault.
	Recovered func(context.Context) error
	// Say is told of every fault; nil: nobody.
	Say func(format string, args ...any)
}

// Run injects faults by the schedule until ctx ends, and at least one of every
// kind. Everything is healed when it returns. An error wraps
// [ErrNotRecovered], or says that a fault could not be injected.
func (n *Nemesis) Run(ctx context.Context, s *Schedule) error {
	// What is begun is ended; only the waits between faults are cut short.
	whole := context.WithoutCancel(ctx)
	for done := 0; done < s.Round() || ctx.Err() == nil; done++ {
		a := s.Next()
		if err := n.act(whole, a); err != nil {
			return errors.Join(fmt.Errorf("%s for %s: %w", a.Kind, a.Length, err), n.Heal())
		}
		if err := n.Recovered(whole); err != nil {
			return fmt.Errorf("%w from %s for %s: %w", ErrNotRecovered, a.Kind, a.Length, err)
		}
		sleep(ctx, a.Gap)
	}
	return nil
}

// Heal starts, resumes and reconnects everything.
func (n *Nemesis) Heal() error {
	if n.Network != nil {
		n.Network.Heal()
	}
	var problems []error
	for _, p := range n.Processes {
		problems = append(problems, p.Resume(), p.Start())
	}
	return errors.Join(problems...)
}

// act injects one fault, waits, heals it, and records it.
func (n *Nemesis) act(ctx context.Context, a Action) error {
	victims := n.victims(ctx, a)
	ids := make([]string, len(victims))
	for i, v := range victims {
		ids[i] = v.ID()
	}
	fault := history.Fault{Kind: string(a.Kind), Nodes: ids, Begin: n.Recorder.Now()}
	if n.Say != nil {
		n.Say("%8s %s of %s for %s", fault.Begin.Round(time.Millisecond), a.Kind, strings.Join(ids, ", "), a.Length.Round(time.Millisecond))
	}
	if err := n.inject(ctx, a, victims); err != nil {
		return err
	}
	sleep(ctx, a.Length)
	if err := n.Heal(); err != nil {
		return err
	}
	fault.End = n.Recorder.Now()
	n.Recorder.Fault(fault)
	return nil
}

// victims are the nodes that a fault meets.
func (n *Nemesis) victims(ctx context.Context, a Action) []*Process {
	chosen := n.Processes[a.Victim%len(n.Processes)]
	switch a.Kind {
	case KillAll:
		return n.Processes
	case KillLeader, StopLeader, PauseLeader, IsolateLeader, MuteLeader, DeafenLeader, StopDeaf:
		leader := n.Leader(ctx)
		if i := slices.IndexFunc(n.Processes, func(p *Process) bool { return p.ID() == leader }); i >= 0 {
			return n.Processes[i : i+1]
		}
	case SplitPair:
		return []*Process{chosen, n.Processes[(a.Victim+1)%len(n.Processes)]}
	}
	return []*Process{chosen}
}

const (
	// stopPatience is how long a process may take to end when it is asked to.
	stopPatience = 30 * time.Second
	// deafBeforeStop is long enough for a leader that hears nobody to give up.
	deafBeforeStop = 1500 * time.Millisecond
)

// The pace of a restart storm: each life lasts up to about as long as a start
// takes, so that some are cut short.
const (
	stormLives = 4
	stormLife  = 400 * time.Millisecond
)

func (n *Nemesis) inject(ctx context.Context, a Action, victims []*Process) error {
	first := victims[0]
	switch a.Kind {
	case KillLeader, KillOne, KillAll:
		var problems []error
		for _, v := range victims {
			problems = append(problems, v.Kill())
		}
		return errors.Join(problems...)
	case StopLeader:
		return first.Stop(stopPatience)
	case Storm:
		for i := range stormLives {
			if err := errors.Join(first.Kill(), first.Start()); err != nil {
				return err
			}
			sleep(ctx, stormLife/4+time.Duration((a.Victim+i*7919)%int(stormLife/time.Millisecond))*time.Millisecond)
		}
		return first.Kill()
	case PauseLeader, PauseOne:
		return first.Pause()
	}
	if n.Network == nil {
		return errors.New("there is no network to cut")
	}
	n.cut(a.Kind, victims)
	if a.Kind == StopDeaf {
		sleep(ctx, deafBeforeStop)
		return first.Stop(stopPatience)
	}
	return nil
}

// cut cuts the network between the victims and the others, or between two.
func (n *Nemesis) cut(kind Kind, victims []*Process) {
	first := victims[0].ID()
	for _, p := range n.Processes {
		other := p.ID()
		if other == first || kind == SplitPair && other != victims[1].ID() {
			continue
		}
		if kind != DeafenLeader && kind != StopDeaf {
			n.Network.Cut(first, other)
		}
		if kind != MuteLeader {
			n.Network.Cut(other, first)
		}
	}
}

// sleep waits for d, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
