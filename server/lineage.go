package server

import (
	"fmt"

	"github.com/raftkms/raftkms/fsm/state"
)

// olderThan says how a backup, whose state is of cluster theirs at an index, is
// older than the cluster ours: empty for one of the same generation. One of a
// generation that ours did not come from is refused. That of a time before
// foundings had ids is told by its number.
func olderThan(ours, theirs *state.Cluster, index uint64) (string, error) {
	since, ok := ours.FoundedSince(theirs)
	switch {
	case !ok:
		return "", fmt.Errorf("this backup is of a generation %d of this cluster (lineage %q) that this node's generation %d (lineage %q) did not come from: "+
			"check it at a node of that generation, or at one without a cluster whose module holds its root keys",
			theirs.Generation, theirs.LineageID(), ours.Generation, ours.LineageID())
	case len(since) > 0 && since[0].From < index:
		return fmt.Sprintf("of generation %d, up to index %d; generation %d was founded from its index %d, and this cluster knows nothing of what is behind it",
			theirs.Generation, index, since[0].Generation, since[0].From), nil
	case len(since) > 0:
		return fmt.Sprintf("of generation %d, before the restore or recovery that founded generation %d", theirs.Generation, since[0].Generation), nil
	case theirs.Generation < ours.Generation:
		return fmt.Sprintf("of generation %d, and this cluster is of generation %d", theirs.Generation, ours.Generation), nil
	default:
		return "", nil
	}
}
