package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/result"
	"github.com/raftkms/raftkms/bench/target"
)

// What the Go runtime of a server says of itself in its metrics.
const (
	allocBytesMetric = "go_memstats_alloc_bytes_total"
	allocsMetric     = "go_memstats_mallocs_total"
	gcsMetric        = "go_gc_duration_seconds_count"
	gcPauseMetric    = "go_gc_duration_seconds_sum"
)

// measureRound puts the load on once: the warm-up first, which is not counted.
func (b *bench) measureRound(ctx context.Context, s *stand, cfg load.PosterConfig, point *result.Point) error {
	cfg.Workers = point.Connections
	poster, err := load.NewPoster(cfg)
	if err != nil {
		return err
	}
	defer poster.Close()
	run := load.Config{Workers: point.Connections, Rate: point.Rate, NodeOf: poster.Node, Interval: 200 * time.Millisecond}
	if b.plan.warmup > 0 {
		warm := run
		warm.Rate, warm.Duration = 0, b.plan.warmup // every connection is to be made
		if _, err := load.Run(ctx, warm, poster.Call); err != nil {
			return err
		}
	}
	before, err := s.cost(ctx)
	if err != nil {
		return err
	}
	generatorBefore, err := ownCPU()
	if err != nil {
		return err
	}
	machineBefore, told := machineTime()
	run.Duration = b.plan.round
	run.Progress = func(p load.Progress) { b.bar.draw(point.Name(), p) }
	report, err := load.Run(ctx, run, poster.Call)
	b.bar.clear()
	if err != nil {
		return err
	}
	machineAfter, _ := machineTime()
	generatorAfter, err := ownCPU()
	if err != nil {
		return err
	}
	after, err := s.cost(ctx)
	if err != nil {
		return err
	}
	b.bar.done++
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("measuring %s: %w", point.Name(), ctx.Err())
	case report.Calls == 0 && report.Errors == 0:
		return fmt.Errorf("measuring %s: not one call was started: %w", point.Name(), report.RateError())
	case report.Calls == 0:
		return fmt.Errorf("measuring %s: all %d calls failed: %w", point.Name(), report.Errors, target.Explain(hostOf(report, poster), report.FirstError))
	}
	round := result.NewRound(report)
	used := result.Used{Cores: runtime.GOMAXPROCS(0), Generator: generatorAfter - generatorBefore}
	if told {
		used.Machine = machineAfter.share(machineBefore)
	}
	if round.Server = after.since(before); round.Server != nil && round.Server.CPU != nil {
		used.Servers = *round.Server.CPU
	}
	round.Generator = result.JudgeGenerator(&round, report, used)
	point.Rounds = append(point.Rounds, round)
	if b.unreached == nil {
		b.unreached = report.RateError()
	}
	return nil
}

// hostOf names a node that refused.
func hostOf(report *load.Report, poster *load.Poster) string {
	if status, ok := errors.AsType[*load.StatusError](report.FirstError); ok {
		return status.Node
	}
	return poster.Node(0)
}

// cost is what the servers have cost since they began.
type cost struct {
	cpu     time.Duration
	known   bool // the CPU time
	metrics map[string]float64
}

func (s *stand) cost(ctx context.Context) (c cost, err error) {
	if len(s.pids) > 0 {
		if c.cpu, err = cpuTime(s.pids); err != nil {
			return c, err
		}
		c.known = true
	}
	if s.metrics != nil {
		if c.metrics, err = s.metrics.read(ctx, allocBytesMetric, allocsMetric, gcsMetric, gcPauseMetric); err != nil {
			s.metrics, c.metrics = nil, nil // a service need not have any
		}
	}
	return c, nil
}

// since is the difference; nil if nothing is known.
func (c cost) since(before cost) *result.Server {
	var s result.Server
	if c.known {
		cpu := c.cpu - before.cpu
		s.CPU = &cpu
	}
	difference := func(name string) *float64 {
		now, ok := c.metrics[name]
		then, was := before.metrics[name]
		if !ok || !was || now < then { // less than before: it was started anew
			return nil
		}
		d := now - then
		return &d
	}
	s.AllocBytes, s.Allocs = difference(allocBytesMetric), difference(allocsMetric)
	s.GCs, s.GCPause = difference(gcsMetric), difference(gcPauseMetric)
	if s == (result.Server{}) {
		return nil
	}
	return &s
}

// ownCPU is the CPU time of this process, in user and kernel mode.
func ownCPU() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("reading the CPU time of this process: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
