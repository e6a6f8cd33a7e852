package server

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The seat of a removed node is not taken over under its id: the newcomer would
// have the vote that the old one had, and none of its log. Once the seat is gone
// the same request is granted.
func TestAnOldSeatAdmitsNobody(t *testing.T) {
	s := startFounder(t)
	m := s.member.Load()
	token := func() membership.Token {
		t.Helper()
		made, err := s.createJoinToken(t.Context(), wire.JoinTokenRequest{})
		must(t, err)
		parsed, err := membership.ParseToken(made.Token)
		must(t, err)
		return parsed
	}
	admit := func(id, address string) {
		t.Helper()
		secret := token().Secret
		hash := sha256.Sum256(secret[:])
		node := fsmtest.Node(id)
		node.ClusterAddress = address
		node.Program = s.nodeInfoOfKey(nil, nil).Program
		must(t, m.service.AdmitNode(t.Context(), "192.0.2.9:1", command.AdmitNode{TokenID: hex.EncodeToString(hash[:]), Node: node},
			func(*state.Root) error { return nil }))
	}
	// At a node that cannot be added the leader stops bringing the seats in line.
	admit("n2", s.cfg.ClusterListen)
	admit("n3", "192.0.2.3:7201")
	must(t, m.node.AddNonvoter(t.Context(), "n3", "192.0.2.3:7201"))
	joiner := startEmpty(t, func(cfg *Config) { cfg.NodeID = "n3" })
	key, _, err := newNodeKey()
	must(t, err)
	body, err := joiner.joinBody(t.Context(), token(), key)
	must(t, err)
	refused := func(want string) {
		t.Helper()
		if _, err := s.answerJoin(t.Context(), m, "192.0.2.9:1", body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want a refusal that says %q", err, want)
		}
		told, err := s.traces.Search(t.Context(), audit.Query{TraceName: kms.OpAdmitNode.Name, Limit: 1})
		must(t, err)
		if len(told.Found) != 1 || !strings.Contains(string(told.Found[0].Body), want) {
			t.Errorf("%d traces of nodes that join, the newest without %q", len(told.Found), want)
		}
	}
	refused("give this one another id and an empty data directory, or take that one out first")
	must(t, m.service.RemoveNode(t.Context(), "r1", command.RemoveNode{NodeID: "n3"}))
	refused("still being removed")
	if _, known := s.machine.State().Node("n3"); known {
		t.Error("the newcomer is a node of the cluster")
	}
	// Who has no token of use is told nothing of nodes.
	admitted := command.AdmitNode{TokenID: fsmtest.TokenID("old"), Node: fsmtest.Node("n3")}
	late := fsmtest.Bootstrapped(t)
	late.Must(command.CreateJoinToken{ID: admitted.TokenID, Expires: late.Now + 60_000})
	if err := s.seatFree(late.State(), admitted); kms.KindOf(err) != kms.KindNameTaken {
		t.Errorf("with a token of use: %v", err)
	}
	late.Now += 60_000
	late.Must(fsmtest.CreateKey("k"))
	if err := s.seatFree(late.State(), admitted); err != nil {
		t.Errorf("with a token that has expired: %v", err)
	}
	must(t, m.node.Remove(t.Context(), "n3"))
	_, err = s.answerJoin(t.Context(), m, "192.0.2.9:1", body)
	must(t, err)
}
