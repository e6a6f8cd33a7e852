// Package export takes traces away from a node, to files and to services, while
// nothing waits for it.
//
// What it promises:
//   - At least once: a sink is given every line of the node's log, in their
//     order, from a place on that is kept on disk. The place moves when the sink
//     has taken what was before it, so after a crash, and where an answer was
//     lost, some lines come twice. A line's sequence and hash tell.
//   - What a sink does, or does not do, reaches neither the log nor the server:
//     the log's own segments are what waits for it, and memory holds one batch.
//   - Lines that retention has removed before a sink took them are counted and
//     logged. Nothing is left out in silence.
//   - Secrets are read from their files when they are needed, and are in no
//     error, log or metric. Addresses hold none: they are refused if they do.
package export
