// Package audit is the trace log of one node: what was asked, by whom, from
// where, and what came of it.
//
// What it promises:
//   - A trace is on disk before the response leaves the node: [Log.Append]
//     returns after fdatasync (with [SyncInterval]: after write), and an error
//     means that the response is not sent. Many callers share one write and one
//     fdatasync; a caller alone waits for no timer and no other goroutine.
//   - One record is one line of JSON in UTF-8, in segments whose names sort as
//     their lines follow one another; the newest one ends in blank lines, space
//     that is already on disk. grep reads it at any time.
//   - Lines are numbered and chained by SHA-256, over all segments. [Verify]
//     names the first line that was altered, added, moved or taken away. That a
//     log lost its end, or was written anew as a whole, shows when it is compared
//     with signed checkpoints that others have kept ([Log.Checkpoint],
//     [VerifyAgainst]): roots of a Merkle tree over its lines.
//   - What a crash has torn is cut off when the log is opened next; what was
//     altered is left as it is. Either is logged and marked in the chain, and so
//     is every segment that was dropped and every time without room. Nothing is
//     repaired in silence.
//   - Without room, records of what was done are refused with [ErrFull], while
//     refusals are recorded in a reserve; it ends by itself. A disk that fails
//     is [ErrDamaged] for good: nothing is tried twice, the node must stop.
//   - A record holds no secret: it has fields for what may be known, and what it
//     tells of requests and answers was put in member by member ([Details]).
//
// It never decides what is traced, and never sends a trace anywhere; that is
// for others to do.
package audit
