// Package campaign runs a scenario against a cluster of real kmsd processes and
// judges what its clients saw: cluster × load × faults × checks.
//
// A campaign founds a cluster of its own, lets workers call every node while
// the nemesis breaks it, and an owner share keys with a second account by grants
// that come and go; every node is also looked through for the traces of the calls
// and for secrets. It heals the cluster, waits until every node serves, looks at
// everything that was written and opens everything that was encrypted, on every
// node, and has every checker of bench/history judge the whole.
//
// What it promises: it passes only if faults were injected, enough calls
// succeeded, no process ended by itself, the cluster served again after every
// fault, and no promise was broken. Where it fails, everything needed to study
// the failure stays in its directory: history, report, a drawing of the calls
// that cannot be ordered, data directories and logs.
//
// What it never does: use another cluster's processes, or anything but loopback
// addresses. TRACK-RECORD.md lists the bugs that it found.
package campaign
