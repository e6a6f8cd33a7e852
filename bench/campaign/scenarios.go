package campaign

import (
	"slices"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// Scenarios are the scenarios by name. "short" is for every test run, "long" is
// one round of torture with every kind of fault; the others show a bug of
// TRACK-RECORD.md again.
func Scenarios() map[string]Scenario {
	all := make(map[string]Scenario)
	for _, s := range []Scenario{
		{
			Name: "short", Nodes: 3, Workers: 8, Load: 10 * time.Second, Longest: 2 * time.Second, Successes: 50, Revokers: 1,
			Kinds: []nemesis.Kind{nemesis.KillLeader, nemesis.PauseLeader, nemesis.IsolateLeader, nemesis.KillAll, nemesis.StopDeaf},
		},
		{
			Name: "long", Nodes: 3, Workers: 12, Load: 45 * time.Second, Longest: 5 * time.Second, Successes: 500, Revokers: 2, Revocations: 1,
			Kinds: slices.Concat(nemesis.ProcessKinds(), nemesis.NetworkKinds()),
		},
		{
			Name: "deaf", Nodes: 3, Workers: 12, Load: 40 * time.Second, Longest: time.Second, Successes: 500,
			Kinds: []nemesis.Kind{nemesis.StopDeaf},
		},
		{
			Name: "rights", Nodes: 3, Workers: 2, Load: 20 * time.Second, Longest: 2 * time.Second, Successes: 50, Revokers: 3, Revocations: 2,
			Kinds: []nemesis.Kind{nemesis.PauseLeader, nemesis.IsolateLeader},
		},
	} {
		all[s.Name] = s
	}
	return all
}
