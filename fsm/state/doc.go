// Package state holds the replicated state: one immutable [Root], from which a
// call decides everything, and the [Txn] with which apply makes the next one.
//
// What it promises: a Root never changes, so it is read without a lock, kept
// as long as one likes, and is a snapshot as it stands. Records are found by
// id, by name and by place in a list without walking what was not asked for.
// Equal states have equal hashes, on every node and after every restore.
//
// Invariant: a pointer to a record that a Root returned is returned again by
// every later Root for as long as that record is unchanged in the state. So a
// cache entry made from a record counts exactly while the current Root still
// returns that very pointer.
//
// What it never does: it judges nothing (package fsm does), reads no clock,
// draws nothing at random, and does no I/O.
package state
