package server

import (
	"testing"

	"github.com/raftkms/raftkms/server/wire"
)

// Without a leader a node still proves its own log, says that others cannot be
// asked and that it may not know all, and shows the keys for who has their disks.
func TestTracesAreVerifiedWithoutALeader(t *testing.T) {
	c := newTrio(t)
	s := c.nodes[2]
	noted(t, s, 5)
	before, err := s.verifyTraces(t.Context(), wire.VerifyTracesRequest{})
	must(t, err)
	if before.Stale != "" || !before.Sound || len(before.Nodes) != 3 {
		t.Fatalf("with a leader: %+v", before)
	}
	must(t, c.ends[0]())
	must(t, c.ends[1]())
	after, err := s.verifyTraces(t.Context(), wire.VerifyTracesRequest{})
	must(t, err)
	if after.Stale == "" || after.Sound || len(after.Nodes) != 3 {
		t.Errorf("without a leader: %+v", after)
	}
	for i, n := range after.Nodes {
		if own := n.NodeID == s.cfg.NodeID; own != (n.Problem == "") || n.Fault != "" || own && n.Last < before.Nodes[i].Last {
			t.Errorf("without a leader: %+v", n)
		}
	}
	if keys, err := s.traceKeys(t.Context()); err != nil || keys.Stale == "" {
		t.Errorf("%+v, %v", keys, err)
	}
}
