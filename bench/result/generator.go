package result

import (
	"fmt"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

const (
	// busyShare of the cores is where a process that drives as hard as it can has
	// no more to give: the rest goes to the kernel's work for it and to waiting
	// for one another.
	busyShare = 0.8
	// fullShare is where the generator's machine has nothing left for it, nor for
	// servers that share it.
	fullShare = 0.9
	// lateShare of the median latency is more than an open loop's own delay may
	// be at its median before it is what was measured.
	lateShare = 0.5
)

// Used is what a round took of the generator's machine.
type Used struct {
	Cores     int
	Generator time.Duration // CPU time of the generator
	Servers   time.Duration // CPU time of servers on the same machine; 0: none, or unknown
	// Machine is the share of the cores that was in use by anything, 0 to 1; 0:
	// unknown, so that the two are taken for all there was.
	Machine float64
}

// JudgeGenerator says whether the generator bounded a round, from what it and
// local servers took of the machine, and in an open loop from how well it kept
// its schedule.
func JudgeGenerator(r *Round, report *load.Report, used Used) Generator {
	available := float64(used.Cores) * r.Elapsed.Seconds()
	own, theirs := used.Generator.Seconds()/available, used.Servers.Seconds()/available
	all := max(used.Machine, own+theirs)
	g := Generator{CPU: used.Generator}
	told := fmt.Sprintf("the generator took %.0f %% of %d cores", 100*own, used.Cores)
	if used.Servers > 0 {
		told += fmt.Sprintf(", the servers on the same machine %.0f %%", 100*theirs)
	}
	if used.Machine > 0 {
		told += fmt.Sprintf(", everything together %.0f %%", 100*all)
	}
	switch open := r.Open; {
	case open != nil && open.Unsent > 0 && !open.Busy:
		g.Bottleneck, g.Reason = true, fmt.Sprintf("%v; %s", report.RateError(), told)
	case open != nil && r.Calls > 0 && float64(open.Lateness.At(50)) > lateShare*float64(r.Latencies.At(50)):
		g.Bottleneck, g.Reason = true, fmt.Sprintf("half of the calls were late by %s or more through the generator itself, of a median latency of %s; %s", open.Lateness.At(50).Round(time.Microsecond), r.Latencies.At(50).Round(time.Microsecond), told)
	case own >= busyShare:
		g.Bottleneck, g.Reason = true, told+": it had no more to give"
	case open == nil && all >= fullShare && used.Servers > 0:
		g.Bottleneck, g.Reason = true, told+": the machine was full, so that the throughput is that of all together; CPU per request is the servers' own"
	case open == nil && all >= fullShare:
		g.Bottleneck, g.Reason = true, told+": the machine was full, so that the generator did not get what it could have used"
	default:
		g.Reason = told
	}
	return g
}
