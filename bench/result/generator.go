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
	// fullShare is where a machine that the servers share with the generator has
	// none left for either.
	fullShare = 0.9
	// lateShare of the median latency is more than an open loop's own delay may
	// be at its median before it is what was measured.
	lateShare = 0.5
)

// JudgeGenerator says whether the generator bounded a round, from the CPU time
// that it and local servers (0: none, or unknown) took, and in an open loop from
// how well it kept its schedule.
func JudgeGenerator(r *Round, report *load.Report, cores int, generator, servers time.Duration) Generator {
	available := float64(cores) * r.Elapsed.Seconds()
	own, theirs := generator.Seconds()/available, servers.Seconds()/available
	g := Generator{CPU: generator}
	told := fmt.Sprintf("the generator took %.0f %% of %d cores", 100*own, cores)
	if servers > 0 {
		told += fmt.Sprintf(", the servers on the same machine %.0f %%", 100*theirs)
	}
	switch open := r.Open; {
	case open != nil && open.Unsent > 0 && !open.Busy:
		g.Bottleneck, g.Reason = true, fmt.Sprintf("%v; %s", report.RateError(), told)
	case open != nil && r.Calls > 0 && float64(open.Lateness.At(50)) > lateShare*float64(r.Latencies.At(50)):
		g.Bottleneck, g.Reason = true, fmt.Sprintf("half of the calls were late by %s or more through the generator itself, of a median latency of %s; %s", open.Lateness.At(50).Round(time.Microsecond), r.Latencies.At(50).Round(time.Microsecond), told)
	case own >= busyShare:
		g.Bottleneck, g.Reason = true, told+": it had no more to give"
	case open == nil && servers > 0 && own+theirs >= fullShare:
		g.Bottleneck, g.Reason = true, told+": the machine was full, so that the throughput is that of both together; CPU per request is the servers' own"
	default:
		g.Reason = told
	}
	return g
}
