package campaign

import (
	"slices"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// Scenarios are the scenarios by name. "short" and "overlap-short" are for every
// test run; of the others those that [Torture] does not name show a bug of
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
			Kinds: []nemesis.Kind{
				nemesis.KillLeader, nemesis.KillOne, nemesis.KillAll, nemesis.StopLeader, nemesis.Storm, nemesis.PauseLeader, nemesis.PauseOne,
				nemesis.IsolateLeader, nemesis.IsolateOne, nemesis.MuteLeader, nemesis.DeafenLeader, nemesis.SplitPair, nemesis.StopDeaf,
				nemesis.LongPause, nemesis.KillMajority,
			},
		},
		{
			Name: "links", Nodes: 3, Workers: 12, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 300,
			Kinds: []nemesis.Kind{
				nemesis.MuteOne, nemesis.DeafenOne, nemesis.StrandOne, nemesis.Shatter, nemesis.OneWayRing, nemesis.Flap, nemesis.Swizzle,
				nemesis.SlowNetwork, nemesis.SlowOne, nemesis.Lossy, nemesis.StormAll,
			},
		},
		{
			Name: "five", Nodes: 5, Workers: 10, Load: 45 * time.Second, Longest: 5 * time.Second, Successes: 200, Revokers: 1, Revocations: 1,
			Kinds: []nemesis.Kind{
				nemesis.KillMinority, nemesis.KillMinority, nemesis.SplitHalves, nemesis.SplitHalves, nemesis.Bridge, nemesis.KillLeader,
				nemesis.KillAll, nemesis.PauseLeader, nemesis.OneWayRing, nemesis.Shatter, nemesis.LongPause, nemesis.KillMajority,
			},
		},
		{
			Name: "strict", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 5 * time.Second, Successes: 200, Revokers: 2, Revocations: 1, Strict: true,
			Kinds: []nemesis.Kind{
				nemesis.KillLeader, nemesis.PauseLeader, nemesis.PauseOne, nemesis.IsolateLeader, nemesis.MuteLeader, nemesis.SplitPair, nemesis.Flap,
				nemesis.SlowNetwork, nemesis.TransferStorm,
			},
		},
		{
			// The least age that may be allowed, and faults that outlast it.
			Name: "available", Nodes: 3, Workers: 10, Load: 50 * time.Second, Longest: 12 * time.Second, Successes: 200, Revokers: 2, Revocations: 1,
			MaxAge: 5 * time.Second,
			Kinds: []nemesis.Kind{
				nemesis.KillLeader, nemesis.PauseLeader, nemesis.PauseOne, nemesis.IsolateLeader, nemesis.IsolateOne, nemesis.IsolateOne, nemesis.MuteOne,
				nemesis.SplitPair, nemesis.StrandOne, nemesis.Shatter,
			},
		},
		{
			Name: "operator", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 300,
			Kinds: slices.Concat(nemesis.OperatorKinds(), []nemesis.Kind{nemesis.KillLeader, nemesis.SlowNetwork}),
		},
		{
			Name: "versions", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 3 * time.Second, Successes: 300, Revokers: 1,
			Kinds: slices.Concat(nemesis.ProgramKinds(), nemesis.ProgramKinds(), []nemesis.Kind{ // twice as often as the others
				nemesis.KillLeader, nemesis.IsolateLeader, nemesis.TransferStorm, nemesis.LeaveBehind, nemesis.ReplaceOne,
			}),
		},
		{
			Name: "disk", Nodes: 3, Workers: 10, Load: 40 * time.Second, Longest: 4 * time.Second, Successes: 200,
			Kinds: slices.Concat(nemesis.DiskKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "full", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 200,
			Kinds: slices.Concat(nemesis.RoomKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "hang", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 200, Revokers: 1,
			Kinds: slices.Concat(nemesis.HangKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "power", Nodes: 5, Workers: 8, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 150, Revokers: 1, Erasing: true,
			Kinds: slices.Concat(nemesis.PowerKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "clocks", Nodes: 3, Workers: 10, Load: 45 * time.Second, Longest: 5 * time.Second, Successes: 200, Revokers: 1,
			Kinds: slices.Concat(nemesis.ClockKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "packets", Nodes: 3, Workers: 10, Load: 50 * time.Second, Longest: 5 * time.Second, Successes: 200, Revokers: 1, Packets: true,
			Kinds: slices.Concat(nemesis.PacketKinds(), []nemesis.Kind{
				nemesis.IsolateLeader, nemesis.MuteLeader, nemesis.DeafenOne, nemesis.SplitPair, nemesis.Shatter, nemesis.OneWayRing,
				nemesis.Flap, nemesis.SlowNetwork, nemesis.StopDeaf, nemesis.KillLeader, nemesis.PauseLeader,
			}),
		},
		{
			// Longer than gossip remembers the dead, which is 30 s.
			Name: "apart", Nodes: 3, Workers: 8, Load: 60 * time.Second, Longest: 50 * time.Second, Successes: 100, Packets: true,
			Kinds: []nemesis.Kind{nemesis.Alone, nemesis.Shatter, nemesis.Unanswering},
		},
		{
			Name: "hsm", Nodes: 3, Workers: 8, Load: 40 * time.Second, Longest: 4 * time.Second, Successes: 100, Module: "pkcs11",
			Kinds: slices.Concat(nemesis.DeviceKinds(), []nemesis.Kind{nemesis.KillLeader}),
		},
		{
			Name: "hsm-moves", Nodes: 3, Workers: 8, Load: 45 * time.Second, Longest: 4 * time.Second, Successes: 100, Module: "pkcs11",
			Kinds: slices.Concat(nemesis.DeviceOperatorKinds(), nemesis.DeviceOperatorKinds(), []nemesis.Kind{ // twice as often as the others
				nemesis.UnplugOne, nemesis.SlowDevice, nemesis.LoseSessions, nemesis.LeaveBehind, nemesis.TransferStorm, nemesis.KillLeader, nemesis.PauseLeader,
			}),
		},
		{
			Name: "deaf", Nodes: 3, Workers: 12, Load: 40 * time.Second, Longest: time.Second, Successes: 500,
			Kinds: []nemesis.Kind{nemesis.StopDeaf},
		},
		{
			Name: "stranded", Nodes: 3, Workers: 8, Load: 20 * time.Second, Longest: 5 * time.Second, Successes: 200, Revokers: 2, Revocations: 1,
			Kinds: []nemesis.Kind{nemesis.StrandOne},
		},
		{
			Name: "turns", Nodes: 3, Workers: 4, Load: 10 * time.Second, Longest: 2 * time.Second, Successes: 50,
			Kinds: []nemesis.Kind{nemesis.ClockTurns},
		},
		{
			Name: "rights", Nodes: 3, Workers: 2, Load: 20 * time.Second, Longest: 2 * time.Second, Successes: 50, Revokers: 3, Revocations: 2,
			Kinds: []nemesis.Kind{nemesis.PauseLeader, nemesis.IsolateLeader},
		},
		{
			Name: "overlap", Nodes: 3, Workers: 8, Load: 60 * time.Second, Longest: 6 * time.Second, Successes: 200, Revokers: 2, Erasing: true,
			Kinds: nemesis.OverlapKinds(),
		},
		{
			Name: "overlap-five", Nodes: 5, Workers: 8, Load: 60 * time.Second, Longest: 6 * time.Second, Successes: 100, Revokers: 1, Erasing: true,
			Kinds: nemesis.OverlapKinds(),
		},
		{
			Name: "overlap-short", Nodes: 3, Workers: 6, Load: 6 * time.Second, Longest: 5 * time.Second, Successes: 30, Revokers: 1, Erasing: true,
			Kinds: []nemesis.Kind{nemesis.CutPaused, nemesis.PauseCut},
		},
	} {
		all[s.Name] = s
	}
	return all
}
