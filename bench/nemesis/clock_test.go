package nemesis_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// The wall clock of a process goes as it is told, and only that: its monotonic
// clock and other processes' clocks stay.
func TestAClockIsShifted(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end()                                                  // one round
	if trouble := nemesis.ClockTrouble(); trouble != nil { // who cannot make it is told why
		if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.ClockYear)); err == nil || !strings.Contains(err.Error(), trouble.Error()) {
			t.Errorf("%v, want %v", err, trouble)
		}
		return
	}
	file := filepath.Join(t.TempDir(), "clock")
	starter := starter(t)
	p := process(t, starter, "n1", "clock", file)
	must(t, p.SetClock(time.Hour), p.Start()) // one that is not there has no clock
	begin := time.Now()
	showsIn := func(file string, by time.Duration) bool {
		text, err := os.ReadFile(file)
		var wall, since int64
		if _, scan := fmt.Sscan(string(text), &wall, &since); err != nil || scan != nil {
			return false
		}
		if passed := time.Duration(since); passed < 0 || passed > time.Since(begin) {
			t.Fatalf("%s have passed on its monotonic clock within %s", passed, time.Since(begin))
		}
		return time.Until(time.Unix(wall, 0).Add(-by)).Abs() < 20*time.Minute
	}
	shows := func(by time.Duration) bool { return showsIn(file, by) }
	const year = 365 * 24 * time.Hour
	for _, by := range []time.Duration{0, year, -time.Hour, -year, 0, time.Hour, 0} {
		must(t, p.SetClock(by))
		await(t, fmt.Sprint(by), func() bool { return shows(by) })
	}
	must(t, p.SetClock(year), p.Kill(), p.SetClock(0), p.Start())
	await(t, "a new process with the machine's clock", func() bool { return shows(0) })
	if len(p.Crashes()) > 0 {
		t.Errorf("crashes: %v", p.Crashes())
	}

	n.Processes = []*nemesis.Process{p}
	leads := "n1"
	n.Leader = func(context.Context) string { return leads }
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.ClockMinute, nemesis.ClockYear, nemesis.ClockJumps)))
	await(t, "the machine's clock after the healing", func() bool { return shows(0) })
	leads = "n2"
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.ClockLeader)))
	for _, f := range n.Recorder.History().Faults {
		if f.Detail == "" || len(f.Nodes) != 1 {
			t.Errorf("recorded %+v", f)
		}
	}

	theirs := filepath.Join(t.TempDir(), "clock")
	q := process(t, starter, "n2", "clock", theirs)
	must(t, q.Start())
	n.Processes = append(n.Processes, q)
	turns := make(chan error, 1)
	go func() { turns <- n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.ClockTurns)) }()
	await(t, "the other's clock", func() bool { return shows(year) })
	await(t, "the leader's clock", func() bool { return showsIn(theirs, year) })
	await(t, "the other's clock to be right meanwhile", func() bool { return shows(0) })
	must(t, <-turns)
	await(t, "the healing", func() bool { return showsIn(theirs, 0) })
}
