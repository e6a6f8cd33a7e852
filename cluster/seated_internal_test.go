package cluster

import (
	"testing"

	"github.com/hashicorp/raft"
)

// A seat that is gone from the newest configuration of a log is gone once that is
// committed: the next leader may not have it.
func TestASeatIsGoneOnceThatIsCommitted(t *testing.T) {
	newest := []raft.Server{{ID: "n1"}, {ID: "n4"}}
	f := func(want bool, nodeID string, committed ...raft.Server) {
		t.Helper()
		if got := holdsSeat(nodeID, committed, newest); got != want {
			t.Errorf("%s with %v committed: seated %v", nodeID, committed, got)
		}
	}
	f(true, "n2", raft.Server{ID: "n1"}, raft.Server{ID: "n2", Suffrage: raft.Voter})
	f(true, "n1", raft.Server{ID: "n1"}, raft.Server{ID: "n2"})
	f(true, "n4", raft.Server{ID: "n1"}, raft.Server{ID: "n2"})
	f(false, "n2", raft.Server{ID: "n1"})
	f(false, "n2")
	f(true, "n4")
}
