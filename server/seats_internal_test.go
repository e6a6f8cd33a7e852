package server

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/server/wire"
)

// Of four voters one is dead, and one is on its way out: another one is not
// spared. Where both were decided at the same moment, one of them waits, and
// status says so and why; the cluster goes on, and the change is made once the
// dead one has been removed.
func TestADecidedChangeWaitsForItsMajority(t *testing.T) {
	c := newTrio(t)
	c.add("n4")
	c.admit(c.nodes[3])
	voters := func() (ids []string) {
		members, err := c.leading().member.Load().node.Members(t.Context())
		must(t, err)
		for _, m := range members {
			if m.Voter {
				ids = append(ids, m.ID)
			}
		}
		return ids
	}
	await(t, "four voters", func() bool { return len(voters()) == 4 })
	must(t, c.ends[3]())
	leader := c.leading()
	m := leader.member.Load()
	others := slices.DeleteFunc(slices.Clone(c.nodes[:3]), func(s *Server) bool { return s == leader })
	goes, stays := others[0].cfg.NodeID, others[1].cfg.NodeID

	c.removed = goes
	must(t, m.service.RemoveNode(t.Context(), "r1", command.RemoveNode{NodeID: goes}))
	if err := others[1].setStandby(t.Context(), stays, true); err == nil || !strings.Contains(err.Error(), "only 1 of 2 voters would answer") {
		t.Errorf("with one dead and one on its way out: %v", err)
	}
	if _, err := leader.removeNode(t.Context(), wire.NodeRequest{NodeID: stays}); !errors.Is(err, cluster.ErrNotDone) || !strings.Contains(err.Error(), "which is no majority") {
		t.Errorf("with one dead and one on its way out: %v", err)
	}

	// As if it had been asked at the same moment: the question was answered before.
	must(t, m.service.SetStandby(t.Context(), "r2", command.SetStandby{NodeID: stays, Standby: true}))
	await(t, "a change that waits", func() bool {
		return slices.ContainsFunc(c.leading().status().Members, func(one wire.MemberInfo) bool {
			return one.Role == "voter" && strings.HasPrefix(one.Due, "to ") && strings.Contains(one.Due, "only 1 of 2 voters would answer")
		})
	})
	if got := voters(); len(got) != 3 {
		t.Errorf("voters while one change waits: %v", got)
	}
	if status, reply := c.ask(slices.Index(c.nodes, c.leading()), "create-key", `{"key_alias":"meanwhile"}`); status != 200 {
		t.Errorf("a write while a change waits: %d %v", status, reply)
	}

	_, err := c.leading().removeNode(t.Context(), wire.NodeRequest{NodeID: "n4"})
	must(t, err)
	await(t, "both changes", func() bool { return len(voters()) == 1 })
	await(t, "a status without them", func() bool {
		return !slices.ContainsFunc(c.leading().status().Members, func(one wire.MemberInfo) bool { return one.Due != "" || one.ID == goes })
	})
}
