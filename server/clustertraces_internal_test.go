package server

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// allTraces are those of all nodes, by name; of each, where it is and what it
// is about.
func (c *trio) allTraces() map[string][]wire.Trace {
	c.t.Helper()
	all := make(map[string][]wire.Trace)
	for _, s := range c.nodes {
		a, err := s.traces.Search(c.t.Context(), audit.Query{Limit: 10_000})
		must(c.t, err)
		for i := range a.Found {
			trace, err := a.Found[i].Show()
			must(c.t, err)
			if trace.NodeID != s.cfg.NodeID {
				c.t.Errorf("%s has a trace of %s", s.cfg.NodeID, trace.NodeID)
			}
			all[trace.TraceName] = append(all[trace.TraceName], trace)
		}
	}
	return all
}

// What happens to a cluster is traced, each event once: nodes that join, are
// given root keys and a vote, and leave; leaders that come and go; snapshots.
// Where nobody asked it is a SystemAction.
func TestClusterEventsAreTraced(t *testing.T) {
	c := newTrio(t)
	c.add("n4", func(cfg *Config) { cfg.Standby = true })
	c.admit(c.nodes[3])
	await(t, "a standby that is ready", func() bool { return c.nodes[3].member.Load().ready.now() == nil })
	c.removed = "n4"
	_, err := c.nodes[0].removeNode(t.Context(), wire.NodeRequest{NodeID: "n4"})
	must(t, err)
	leader := func() *Server {
		for _, s := range c.nodes[:3] {
			if s.member.Load().node.IsLeader() {
				return s
			}
		}
		return c.nodes[0]
	}
	was := leader()
	must(t, was.member.Load().node.TransferLeadership(t.Context()))
	await(t, "another leader", func() bool { return leader() != was && leader().member.Load().node.IsLeader() })
	await(t, "three nodes that are ready", func() bool {
		return !slices.ContainsFunc(c.nodes[:3], func(s *Server) bool { return s.member.Load().ready.now() != nil })
	})
	must(t, was.member.Load().node.Erase(context.Background())) // takes a snapshot

	// Who waits for another leader is told when the old one was elected again.
	now := leader().member.Load().node.Status()
	if other, err := was.member.Load().awaitOther(t.Context(), now.LeaderID, now.Term-1); err == nil || !strings.Contains(err.Error(), "elected again") {
		t.Errorf("waiting for another leader than %s in term %d: %q, %v", now.LeaderID, now.Term-1, other, err)
	}
	if other, err := was.member.Load().awaitOther(t.Context(), "n4", now.Term-1); err != nil || other != now.LeaderID {
		t.Errorf("another leader than n4 is %q, %v, want %s", other, err, now.LeaderID)
	}

	// One trace each, or as many as there are nodes; by whom, and about whom. (A
	// member that is given its vote at once may have one change in all.)
	type want struct {
		kind  string
		least int
		most  int
		about []string // resource ids that must be there
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var problems bytes.Buffer
		all := c.allTraces()
		for name, w := range map[string]want{
			"bootstrapCluster": {"ApiCall", 1, 1, nil},
			"createJoinToken":  {"ApiCall", 3, 3, nil},
			"admitNode":        {"ApiCall", 3, 3, []string{"n2", "n3", "n4"}},
			"approveRoots":     {"ApiCall", 3, 3, []string{"n2", "n3", "n4"}},
			"receiveRoots":     {"SystemAction", 3, 3, nil},
			"removeNode":       {"ApiCall", 1, 1, []string{"n4"}},
			"changeMember":     {"SystemAction", 4, 12, []string{"n2", "n3", "n4"}},
			"gainLeadership":   {"SystemAction", 2, 20, nil},
			"loseLeadership":   {"SystemAction", 1, 20, nil},
			"takeSnapshot":     {"SystemAction", 1, 20, nil},
		} {
			got := all[name]
			about := make(map[string]bool)
			for _, trace := range got {
				about[trace.ResourceID] = true
				if trace.TraceType != w.kind || trace.TraceRating != "normal" || trace.ResourceType != "cluster" || (w.kind == "SystemAction") != (trace.SourceIP == "") {
					fmt.Fprintf(&problems, "%s is traced as %+v\n", name, trace)
				}
			}
			if len(got) < w.least || len(got) > w.most {
				fmt.Fprintf(&problems, "%s: %d traces, want %d to %d\n", name, len(got), w.least, w.most)
			}
			for _, id := range w.about {
				if !about[id] {
					fmt.Fprintf(&problems, "%s: none is about %s: %v\n", name, id, slices.Sorted(maps.Keys(about)))
				}
			}
		}
		if problems.Len() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s", &problems)
		}
	}
}
