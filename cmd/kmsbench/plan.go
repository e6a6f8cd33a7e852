package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/target"
)

// The bounds of a plan. More nodes or keys fit nobody's machine.
const (
	maxConnections = 10_000
	maxKeys        = 1_000_000
	maxBatch       = 1000
	maxRounds      = 100
	maxNodes       = 7
)

// plan says what is measured: every combination of the lists, some rounds each.
type plan struct {
	operation     string
	payload       int
	batch         int
	nodes         []int
	keys          []int
	connections   []int
	latencies     []time.Duration // added to every call of the HSM
	rate          float64
	warmup, round time.Duration
	rounds        int
}

func (p *plan) addFlags(set *pflag.FlagSet) {
	set.StringVar(&p.operation, "operation", target.CreateDataKey, "What is called: create-datakey, create-datakey-without-plaintext, create-datakeys, decrypt-datakey, encrypt-data, decrypt-data or sign; other services than those of the Huawei style know create-datakey and at most the one without plaintext.")
	set.IntVar(&p.payload, "payload", 0, "Bytes of a data key, or of what is encrypted or signed; of the answer with --target fixed. 32 (fixed: 512) when absent.")
	set.IntVar(&p.batch, "batch", 100, "Data keys of one create-datakeys, 1 to 1000.")
	set.IntSliceVar(&p.nodes, "nodes", []int{1}, "Nodes of the cluster that is run, one after the other if there are several.")
	set.IntSliceVar(&p.keys, "keys", []int{1}, "Keys in use, of the cluster that is run: each call uses another one in turn.")
	set.IntSliceVar(&p.connections, "connections", []int{64}, "Connections, each with one call at a time.")
	set.DurationSliceVar(&p.latencies, "device-latency", nil, "Latency to add to every call of the HSM, with --module pkcs11.")
	set.Float64Var(&p.rate, "rate", 0, "Calls per second of an open loop, whose latencies count from the time at which a call should have started; 0: a closed loop, as many as are answered.")
	set.DurationVar(&p.warmup, "warmup", time.Second, "Calls before the measured time.")
	set.DurationVar(&p.round, "duration", 5*time.Second, "The measured time of a round.")
	set.IntVar(&p.rounds, "rounds", 3, "How often each point is measured, in turn with the others.")
}

// check refuses what cannot be measured before anything is started.
func (p *plan) check() error {
	if len(p.latencies) == 0 {
		p.latencies = []time.Duration{0}
	}
	within := func(flag string, values []int, most int) error {
		if len(values) == 0 {
			return fmt.Errorf("--%s is empty", flag)
		}
		for _, v := range values {
			if v < 1 || v > most {
				return fmt.Errorf("--%s %d must be from 1 to %d", flag, v, most)
			}
		}
		if slices.Sort(values); len(slices.Compact(slices.Clone(values))) != len(values) {
			return fmt.Errorf("--%s names a number twice", flag)
		}
		return nil
	}
	if err := errors.Join(
		within("nodes", p.nodes, maxNodes), within("keys", p.keys, maxKeys), within("connections", p.connections, maxConnections),
		within("batch", []int{p.batch}, maxBatch), within("rounds", []int{p.rounds}, maxRounds),
	); err != nil {
		return err
	}
	slices.Sort(p.latencies)
	for i, latency := range p.latencies {
		if latency < 0 || latency > time.Minute || i > 0 && latency == p.latencies[i-1] {
			return fmt.Errorf("--device-latency %s must be from 0 to 1m, and no other one", latency)
		}
	}
	switch {
	case p.payload < 0 || p.payload > 1<<20:
		return fmt.Errorf("--payload %d must be from 0 to %d", p.payload, 1<<20)
	case p.round <= 0 || p.warmup < 0:
		return errors.New("--duration must be more than 0, and --warmup not less")
	case !(p.rate >= 0 && p.rate <= load.MaxRate):
		return fmt.Errorf("--rate %v cannot be generated: it must be from 0 (a closed loop) to %.0f calls per second", p.rate, load.MaxRate)
	case p.rate > 0 && p.rate*p.round.Seconds() < 1:
		return fmt.Errorf("--rate %v: not one call falls into %s", p.rate, p.round)
	}
	return nil
}

// points is how many places the sweep has.
func (p *plan) points() int {
	return len(p.nodes) * len(p.keys) * len(p.latencies) * len(p.connections)
}
