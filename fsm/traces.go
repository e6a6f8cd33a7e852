package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Bounds of what the cluster remembers of a node's traces.
const (
	maxNote        = 2048 // bytes
	maxVerifierKey = 512  // bytes
	maxCheckpoints = 96   // of one node
	newCheckpoints = 32   // of them, the newest, all are kept
	hour           = 3_600_000
)

// publishCheckpoint keeps a node's checkpoint beside those before. Only the
// node itself can know. What was published stays as it was: a node whose log
// contradicts it shows that by publishing, too. Of older checkpoints one an
// hour stays, the oldest leave first. It is not fenced: no call asks for them.
func publishCheckpoint(c *call, b command.PublishCheckpoint) (any, *Refusal) {
	switch {
	case c.caller.NodeID != b.NodeID:
		return nil, refuse(CodeForbidden, "a node publishes its own checkpoints only")
	case b.From == 0 || b.Size == 0 || len(b.Note) == 0 || len(b.Note) > maxNote || len(b.Key) == 0 || len(b.Key) > maxVerifierKey:
		return nil, refuse(CodeInvalid, "the checkpoint is empty or too large")
	}
	if _, known := c.Node(b.NodeID); !known {
		return nil, refuse(CodeNotFound, "there is no such node")
	}
	var kept []state.Checkpoint
	if old, had := c.TraceLog(b.NodeID); had {
		kept = old.Checkpoints
	}
	kept = append(thin(kept), state.Checkpoint{From: b.From, Size: b.Size, Key: b.Key, Note: b.Note, Time: c.Now()})
	c.PutTraceLog(&state.TraceLog{NodeID: b.NodeID, Checkpoints: kept})
	return NodeResult{NodeID: b.NodeID}, nil
}

// thin returns what stays of the checkpoints, in a new slice with room for one.
func thin(all []state.Checkpoint) []state.Checkpoint {
	kept := make([]state.Checkpoint, 0, len(all)+1)
	for i, c := range all {
		if i+newCheckpoints > len(all) || len(kept) == 0 || c.Time/hour != kept[len(kept)-1].Time/hour {
			kept = append(kept, c)
		}
	}
	if over := len(kept) + 1 - maxCheckpoints; over > 0 {
		kept = append(kept[:0], kept[over:]...)
	}
	return kept
}
