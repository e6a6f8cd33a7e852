package result

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// maxCount bounds what is counted in a round, so that sums of rounds fit.
const maxCount = uint64(1) << 50

// check says what is wrong with a result; nil: its numbers can be added up,
// divided and drawn.
func (r *Result) check() error {
	if len(r.Series) == 0 {
		return errors.New("it holds no measurement")
	}
	if len(r.Series) > maxPoints {
		return fmt.Errorf("%d points are more than %d", len(r.Series), maxPoints)
	}
	for _, text := range []string{r.Tool, r.Machine.OS, r.Machine.Arch, r.Machine.CPU, r.Machine.Kernel, r.Target.Kind, r.Target.Module, r.Target.Level, r.Settings.Operation} {
		if len(text) > maxText {
			return fmt.Errorf("a text of %d bytes is longer than %d", len(text), maxText)
		}
	}
	if s := r.Settings; s.Payload < 0 || s.Batch < 0 || s.Warmup < 0 || s.Duration < 0 || s.Rounds < 0 || r.Machine.Cores < 0 {
		return errors.New("a setting is negative")
	}
	for i := range r.Series {
		if err := r.Series[i].check(); err != nil {
			return fmt.Errorf("point %d: %w", i+1, err)
		}
	}
	return nil
}

func (p *Point) check() error {
	switch {
	case p.Connections < 1 || p.Nodes < 0 || p.Keys < 0 || p.DeviceLatency < 0 || p.DeviceLatency > time.Hour:
		return errors.New("a number is out of range")
	case !(p.Rate >= 0 && p.Rate <= math.MaxInt32): // NaN is refused as well
		return fmt.Errorf("a rate of %v is out of range", p.Rate)
	case len(p.Rounds) == 0 || len(p.Rounds) > maxRounds:
		return fmt.Errorf("%d rounds must be 1 to %d", len(p.Rounds), maxRounds)
	}
	for i := range p.Rounds {
		if err := p.Rounds[i].check(); err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
	}
	return nil
}

func (r *Round) check() error {
	switch {
	case r.Elapsed <= 0 || r.Elapsed > 1000*time.Hour:
		return errors.New("the time that it took is out of range")
	case r.Calls > maxCount || r.Errors > maxCount || uint64(r.Latencies.Count()) != r.Calls:
		return fmt.Errorf("%d calls and %d latencies do not fit", r.Calls, r.Latencies.Count())
	case len(r.Kinds) > maxKinds || len(r.Nodes) > maxNodes:
		return errors.New("too many nodes or kinds of errors")
	case r.Generator.CPU < 0 || len(r.Generator.Reason) > maxText:
		return errors.New("what the generator is said to have done is out of range")
	}
	for kind, n := range r.Kinds {
		if len(kind) > maxText || n > r.Errors {
			return errors.New("the errors by kind do not fit the errors")
		}
	}
	for _, node := range r.Nodes {
		if len(node.Name) > maxText || node.Calls > r.Calls || node.Errors > r.Errors || uint64(node.Latencies.Count()) != node.Calls {
			return errors.New("the part of a node does not fit the round")
		}
	}
	if s := r.Server; s != nil {
		if s.CPU != nil && *s.CPU < 0 {
			return errors.New("the CPU time of the servers is negative")
		}
		for _, n := range []*float64{s.AllocBytes, s.Allocs, s.GCs, s.GCPause} {
			if n != nil && !(*n >= 0 && *n <= math.MaxInt64) {
				return errors.New("what the servers say of themselves is out of range")
			}
		}
	}
	if o := r.Open; o != nil && (o.Planned > maxCount || o.Waited > o.Planned || o.Unsent > o.Planned) {
		return errors.New("the calls of the open loop do not fit")
	}
	return nil
}
