package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// The kinds that give a process another wall clock than the machine's; see
// [ClockTrouble]. Its monotonic clocks go on as they are, as they do where
// somebody sets a machine's time.
const (
	ClockMinute Kind = "clock-minute" // any node's is a minute fast or slow
	ClockYear   Kind = "clock-year"   // any node's is a year fast or slow
	ClockLeader Kind = "clock-leader" // the leader's is; it has to hand leadership on
	ClockJumps  Kind = "clock-jumps"  // the leader's jumps back and forth, by a second up to a year
	ClockTurns  Kind = "clock-turns"  // another node's is a year fast and is set right, and at once the leader's is
)

// ClockKinds are those that shift clocks.
func ClockKinds() []Kind { return []Kind{ClockMinute, ClockYear, ClockLeader, ClockJumps, ClockTurns} }

// ClockTrouble says why no process can be given another wall clock here; nil:
// it can.
func ClockTrouble() error {
	if os.Geteuid() != 0 {
		return errors.New("to shift a node's clock takes root, since a node lets nobody else into its memory")
	}
	if err := clockTrouble(); err != nil {
		return fmt.Errorf("no node's clock can be shifted: %w", err)
	}
	return nil
}

const (
	year          = 365 * 24 * time.Hour
	jumpPeriod    = 400 * time.Millisecond
	yieldPatience = 60 * time.Second // for a leader to hand on; it is under load
	saysItsTime   = time.Second      // within that a node has told the leader what its clock shows
)

// SetClock makes the wall clock of the present process so much faster, in whole
// seconds, or slower. A process that is started later has the machine's.
func (p *Process) SetClock(by time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.alive() || by == 0 && !p.life.shifted {
		return nil
	}
	if err := setClock(p.life.cmd.Process.Pid, by); err != nil {
		return fmt.Errorf("shifting the clock of %s: %w", p.id, err)
	}
	p.life.shifted = true
	return nil
}

// shift has nodes' clocks be wrong until the end of the fault.
func (n *Nemesis) shift(ctx context.Context, a Action, victims []*Process) (detail string, err error) {
	if err := ClockTrouble(); err != nil {
		return "", err
	}
	victim := victims[0]
	if a.Kind == ClockTurns {
		err := victim.SetClock(year)
		sleep(ctx, max(a.Length, saysItsTime))
		if err := errors.Join(err, victim.SetClock(0), victims[1].SetClock(year)); err != nil {
			return "", err
		}
		sleep(ctx, saysItsTime)
		return "", nil
	}
	random := rand.New(rand.NewPCG(uint64(a.Victim), uint64(a.Length)))
	either := func(d time.Duration) time.Duration { return d * time.Duration(1-2*random.IntN(2)) }
	if a.Kind == ClockJumps {
		jumps := 0
		for end := time.Now().Add(a.Length); jumps < 2 || time.Now().Before(end); jumps++ {
			by := []time.Duration{time.Second, time.Minute, time.Hour, year}[random.IntN(4)]
			if err := victim.SetClock(either(by)); err != nil {
				return "", err
			}
			sleep(ctx, jumpPeriod/4+time.Duration(random.Int64N(int64(jumpPeriod))))
		}
		return fmt.Sprintf("%d jumps", jumps), nil
	}
	by := either(time.Minute)
	if a.Kind == ClockYear || a.Kind == ClockLeader && random.IntN(2) == 0 {
		by = either(year)
	}
	if err := victim.SetClock(by); err != nil {
		return "", err
	}
	if a.Kind == ClockLeader && !within(ctx, yieldPatience, func() bool { return n.Leader(ctx) != victim.ID() }) {
		return "", fmt.Errorf("%s leads on %s after its clock was shifted by %s", victim.ID(), yieldPatience, by)
	}
	sleep(ctx, a.Length)
	return "by " + by.String(), nil
}
