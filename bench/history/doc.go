// Package history records what clients of a cluster asked and were told, and
// judges it afterwards: one checker per promise of the product, each with a
// named error (see [Checkers]).
//
// What it promises: a call is judged by what its caller saw and when, on one
// monotonic clock, and by nothing that the product says of itself. An answer
// that never came is kept as unknown: it may have taken effect at any time
// after the call began, or never. A history goes to a file and comes back, and
// is judged the same.
//
// What it never does: trust the order of records, a server's clock, or the
// absence of an answer. It does not look for what the calls do not show
// (plaintext on a disk, a trace that is missing).
//
// # Names, keys and tags
//
// No key is ever deleted or renamed here, so a name stands for at most one key
// and histories are partitioned by name: all that happened under one name is
// one small history with the states absent, Enabled and Disabled. Every
// create-key carries a tag of its own in the key's description; whoever sees a
// key sees which call made it.
//
// Rotations leave a key's state as it is. They are judged by how many versions
// the key has at the end.
//
// Where a use of a key may be answered from an old state, the answer says how old that
// is, and counts from so much earlier; see aged.go.
//
// Calls about grants are a list of their own, partitioned by the key that one
// grantee uses by grants alone: one small history of the grants that there are.
package history
