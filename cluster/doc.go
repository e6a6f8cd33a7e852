// Package cluster replicates opaque commands into a state machine that it is
// handed, over Raft. It knows nothing about what the commands mean.
//
// What it promises:
//
//   - [Node.Propose] takes a command on any node and returns when it is applied
//     on the leader and on this node; an error says whether the command was
//     certainly not done ([ErrNotDone]) or may have been ([ErrOutcomeUnknown]).
//   - [Node.Barrier] returns an index such that a read at or above it sees every
//     command that was acknowledged, anywhere, before the call (readindex.go);
//     it takes no clock and, by default, writes nothing.
//   - While [Node.Serving], this node's own state may answer without asking
//     anybody; once an index is released ([Node.Released]), nobody answers from a
//     state before it any more (lease.go). That needs clocks that run within a
//     tenth of one another and count suspended time.
//   - What was acknowledged is on the disks of a majority.
//   - Members are Raft's configuration and nothing else; gossip is advice.
//   - A node whose storage or state machine fails stops ([Config] Fatal) rather
//     than going on with half of it.
//
// What it never does: read a command, keep a clock for the state machine, or
// talk to anyone who does not hold a certificate of the cluster (but for one
// bounded request to be admitted).
//
// The pages: node.go (a node's life), propose.go (all writes), readindex.go (all
// reads; rounds.go shares them), lease.go (leases and
// fences; leasing.go and fencing.go carry them out), fsm.go (what Raft calls), leadership.go, members.go, calls.go. The
// rooms: storage, transport, membership, autopilot, pki, clustertest.
package cluster
