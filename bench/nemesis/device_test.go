package nemesis_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// pulled is a device that writes down what it is told, and whether its node's
// process was there.
type pulled struct {
	node *nemesis.Process
	told []string
}

func (p *pulled) Unplug()             { p.told = append(p.told, fmt.Sprintf("unplug %t", p.node.PID() != 0)) }
func (p *pulled) Plug()               { p.told = append(p.told, "plug") }
func (p *pulled) LoseSessions()       { p.told = append(p.told, "lose") }
func (p *pulled) Delay(time.Duration) {}

// An HSM goes away while its cluster is changed: under a node that has been left
// behind, once it is up again, and while leadership is handed on.
func TestAnHSMIsGoneAtABadTime(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	for _, kind := range nemesis.DeviceOperatorKinds() {
		if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kind)); err == nil || !strings.Contains(err.Error(), "cannot be told to misbehave") {
			t.Errorf("%s without devices: %v", kind, err)
		}
	}
	o := &operator{down: func(id string) bool {
		return slices.ContainsFunc(n.Processes, func(p *nemesis.Process) bool { return p.ID() == id && p.PID() == 0 })
	}}
	n.Operator, n.Devices = o, make(map[string]nemesis.Device)
	all := make(map[string]*pulled)
	for _, p := range n.Processes {
		all[p.ID()] = &pulled{node: p}
		n.Devices[p.ID()] = all[p.ID()]
	}
	for _, kind := range nemesis.DeviceOperatorKinds() {
		must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kind)), n.Recovered(ended))
		faults := n.Recorder.History().Faults
		victim := faults[len(faults)-1].Nodes[0]
		if told := all[victim].told; !slices.Contains(told, "unplug true") || told[len(told)-1] != "plug" {
			t.Errorf("%s: the HSM of %s was told to %q", kind, victim, told)
		}
		all[victim].told = nil
	}
	if o.transfers < 3 || o.compacted != 1 {
		t.Errorf("the operator was asked for %+v", o)
	}
}
