// Package fsm is the replicated state machine: the only code that changes the
// state of raftkms. The page apply.go says every write there is.
//
// What it promises: the same log gives the same state, the same answers and
// the same hash on every node, however the entries are batched and wherever a
// snapshot came between. Every command is judged where it is applied (who asks,
// feature level, state, quota, uniqueness) against the state at its own index,
// and at most once. A batch becomes visible whole, by one pointer store; a
// reader takes one [state.Root] and decides everything from it.
//
// What it never does: it reads no clock, draws nothing at random, does no I/O
// but on a reader or writer it was handed, and lets no order of a map reach its
// output (a lint test holds it to that). Time and ids come inside commands. A
// node that meets what it does not know is told to stop, rather than diverge.
//
// It knows nothing of Raft, of HTTP and of the HSM; it imports nothing of ours
// outside its own rooms: state (the records), command (the encodings), policy
// (who may), snapshot (the file format), canonical (the bytes).
package fsm
