package nemesis

import (
	"cmp"
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
	Links     Links             // nil: only kinds that need none
	Callers   string            // the end of the links at which the callers are; empty: theirs are no part of the links
	Operator  Operator          // likewise
	Devices   map[string]Device // of each node, by id; likewise
	Rooms     map[string]Rooms  // likewise
	Supplies  map[string]Supply // likewise
	Programs  []string          // that nodes are run as, in turn; likewise
	Recorder  *history.Recorder
	// Refuses is why a node says that it cannot serve; empty: it serves, or says
	// nothing. It is asked while a disk is full.
	Refuses func(ctx context.Context, node string) string
	// Gone says that a node takes no connections of callers. It is asked while a
	// disk hangs.
	Gone func(ctx context.Context, node string) bool
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
		fault, err := n.act(whole, a)
		if err != nil {
			err = errors.Join(fmt.Errorf("%s for %s: %w", a.Kind, a.Length, err), n.Heal())
			fault.End = n.Recorder.Now()
			n.Recorder.Fault(fault) // what was seen while it lasted is judged by it
			return err
		}
		if err = n.Recovered(whole); err == nil {
			fault.Served = n.Recorder.Now()
		}
		n.Recorder.Fault(fault)
		if err != nil {
			return fmt.Errorf("%w from %s for %s: %w", ErrNotRecovered, a.Kind, a.Length, err)
		}
		sleep(ctx, a.Gap)
	}
	return nil
}

// Heal starts, resumes and reconnects everything.
func (n *Nemesis) Heal() error {
	if n.Links != nil {
		n.Links.Heal()
	}
	for _, d := range n.Devices {
		d.Plug()
		d.Delay(0)
	}
	var problems []error
	for _, r := range n.Rooms {
		problems = append(problems, r.State.Thaw(), r.Traces.Thaw(), r.State.Clear(), r.Traces.Clear())
	}
	for _, p := range n.Processes {
		problems = append(problems, p.Resume(), p.SetClock(0), p.Start())
	}
	return errors.Join(problems...)
}

// act injects one fault, waits, heals it, and tells it.
func (n *Nemesis) act(ctx context.Context, a Action) (history.Fault, error) {
	if slices.Contains(OverlapKinds(), a.Kind) {
		return n.lapOver(ctx, a)
	}
	victims, where := n.victims(ctx, a)
	ids := make([]string, len(victims))
	for i, v := range victims {
		ids[i] = v.ID()
	}
	fault := history.Fault{Kind: string(a.Kind), Nodes: ids, Begin: n.Recorder.Now(), Detail: where}
	told := strings.Join(ids, ", ")
	if where != "" {
		told += " (" + where + ")"
	}
	n.say("%8s %s of %s for %s", fault.Begin.Round(time.Millisecond), a.Kind, told, a.Length.Round(time.Millisecond))
	detail, err := n.inject(ctx, a, victims)
	if err != nil {
		return fault, err
	}
	if err := n.Heal(); err != nil {
		return fault, err
	}
	fault.End, fault.Detail = n.Recorder.Now(), cmp.Or(detail, where)
	return fault, nil
}

// lapOver does the same with a fault of several, whose victims it finds as they begin.
func (n *Nemesis) lapOver(ctx context.Context, a Action) (fault history.Fault, err error) {
	fault = history.Fault{Kind: string(a.Kind), Begin: n.Recorder.Now()}
	n.say("%8s %s for %s", fault.Begin.Round(time.Millisecond), a.Kind, a.Length.Round(time.Millisecond))
	if fault.Nodes, fault.Detail, err = n.overlap(ctx, a); err != nil {
		return fault, err
	}
	if err := n.Heal(); err != nil {
		return fault, err
	}
	fault.End = n.Recorder.Now()
	return fault, nil
}

func (n *Nemesis) say(format string, args ...any) {
	if n.Say != nil {
		n.Say(format, args...)
	}
}

// victims are the nodes that a fault meets. where is in which half the leader is,
// where the fault makes two.
func (n *Nemesis) victims(ctx context.Context, a Action) (met []*Process, where string) {
	switch a.Kind {
	case SplitHalves, Bridge, PowerMinority:
		return n.smallerHalf(a.Victim, n.index(n.Leader(ctx)))
	}
	return n.met(ctx, a), ""
}

// met are the nodes that a fault meets which makes no halves.
func (n *Nemesis) met(ctx context.Context, a Action) []*Process {
	chosen := n.Processes[a.Victim%len(n.Processes)]
	switch a.Kind {
	case KillAll, PowerAll, StormAll, Shatter, OneWayRing, Swizzle, SlowNetwork, Lossy, PacketLoss, Overtaking, Narrow, TransferStorm, StrictMode, UnplugAll, FullAll:
		return n.Processes
	case KillMinority:
		return n.inARow(max(0, n.index(n.Leader(ctx))), n.minority())
	case LongPause:
		if i := n.index(n.Leader(ctx)); i >= 0 && a.Victim%2 == 0 {
			return n.Processes[i : i+1]
		}
	case KillLeader, StopLeader, PauseLeader, IsolateLeader, MuteLeader, DeafenLeader, StopDeaf, Flap, Alone, OtherLeader, ClockLeader, ClockJumps:
		if i := n.index(n.Leader(ctx)); i >= 0 {
			return n.Processes[i : i+1]
		}
	case ClockTurns, StrandOne:
		leads := max(0, n.index(n.Leader(ctx)))
		other := (leads + 1 + a.Victim%max(1, len(n.Processes)-1)) % len(n.Processes)
		return []*Process{n.Processes[other], n.Processes[leads]}
	case SplitPair:
		return []*Process{chosen, n.Processes[(a.Victim+1)%len(n.Processes)]}
	}
	return []*Process{chosen}
}

// smallerHalf are as many nodes as make no majority. What was drawn for the victim
// decides whether the leader is among them, whose number leads is (-1: nobody knows),
// and where it is not, who is.
func (n *Nemesis) smallerHalf(victim, leads int) (half []*Process, where string) {
	few, first, inside := n.minority(), max(0, leads), victim%2 == 0
	if !inside {
		first += 1 + victim/2%max(1, len(n.Processes)-few)
	}
	switch {
	case leads < 0:
		where = "who leads is not known"
	case inside:
		where = n.Processes[leads].ID() + " leads in the smaller half"
	default:
		where = n.Processes[leads].ID() + " leads in the larger half"
	}
	return n.inARow(first, few), where
}

// minority is how many nodes are the most that make no majority; one of one or two.
func (n *Nemesis) minority() int { return max(1, (len(n.Processes)-1)/2) }

// inARow are so many nodes from one on, of a ring of all.
func (n *Nemesis) inARow(first, many int) []*Process {
	row := make([]*Process, 0, many)
	for i := range many {
		row = append(row, n.Processes[(first+i)%len(n.Processes)])
	}
	return row
}

// index is where the process of that node stands; -1: there is none.
func (n *Nemesis) index(id string) int {
	return slices.IndexFunc(n.Processes, func(p *Process) bool { return p.ID() == id })
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

// inject injects a fault and returns when it is time to heal it. detail is what
// else there is to be told of it.
func (n *Nemesis) inject(ctx context.Context, a Action, victims []*Process) (detail string, err error) {
	switch {
	case slices.Contains(ProcessKinds(), a.Kind):
		err = n.trouble(ctx, a, victims)
	case slices.Contains(OperatorKinds(), a.Kind):
		if n.Operator == nil {
			return "", errors.New("there is nobody to operate the cluster")
		}
		return n.operate(ctx, a, victims)
	case slices.Contains(DeviceOperatorKinds(), a.Kind):
		if n.Operator == nil {
			return "", errors.New("there is nobody to operate the cluster")
		}
		return n.operateWithout(ctx, a, victims[0])
	case slices.Contains(DeviceKinds(), a.Kind):
		err = n.misbehave(a, victims)
	case slices.Contains(DiskKinds(), a.Kind):
		return "", n.disk(ctx, a, victims[0])
	case slices.Contains(RoomKinds(), a.Kind):
		return n.fill(ctx, a, victims)
	case slices.Contains(HangKinds(), a.Kind):
		return n.hang(ctx, a, victims[0])
	case slices.Contains(PowerKinds(), a.Kind):
		err = n.cutPower(victims)
	case slices.Contains(ProgramKinds(), a.Kind):
		detail, err = n.exchange(victims[0])
	case slices.Contains(ClockKinds(), a.Kind):
		return n.shift(ctx, a, victims)
	default:
		if n.Links == nil {
			return "", errors.New("there is no network to cut")
		}
		if slices.Contains(PacketKinds(), a.Kind) && n.Callers == "" {
			return "", errors.New("the network does not carry what callers send")
		}
		err = n.cut(ctx, a, victims)
	}
	if err == nil {
		sleep(ctx, a.Length)
	}
	return detail, err
}

// trouble does something to processes.
func (n *Nemesis) trouble(ctx context.Context, a Action, victims []*Process) error {
	first := victims[0]
	switch a.Kind {
	case StopLeader:
		return first.Stop(stopPatience)
	case PauseLeader, PauseOne, LongPause:
		return first.Pause()
	case Storm, StormAll:
		for i := range stormLives * len(victims) {
			v := victims[i%len(victims)]
			if err := errors.Join(v.Kill(), v.Start()); err != nil {
				return err
			}
			sleep(ctx, stormLife/4+time.Duration((a.Victim+i*7919)%int(stormLife/time.Millisecond))*time.Millisecond)
		}
	}
	var problems []error
	for _, v := range victims {
		problems = append(problems, v.Kill())
	}
	return errors.Join(problems...)
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
