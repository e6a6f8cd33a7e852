// Package nemesis breaks a cluster on purpose: it kills, pauses and restarts
// its processes, cuts their power, cuts and slows down its network, makes its disks
// slow, full, hang or fail and its HSMs go away, shifts its clocks, and has its
// members change and its leadership handed on at a bad time, by a schedule drawn from
// a seed. Most faults are healed before the next one begins; those of [OverlapKinds]
// are several that overlap.
//
// What it promises: every fault is recorded with the clock of the calls' history
// ([history.Recorder]), from its injection to the end of its healing; when
// [Nemesis.Run] returns everything is healed, whatever happened. The same seed
// and kinds give the same schedule; whom a fault meets (the leader) is found out
// when it is injected.
//
// What it never does: signal a process that it has not started, or touch
// anything but loopback addresses and network namespaces that it has made. The
// processes and namespaces end with the process that runs this package, however
// that ends.
package nemesis
