package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// The cluster shows a node where it is now, whatever it said when it was started
// before, and as which version.
func TestANodeSaysWhereItIsNow(t *testing.T) {
	s, _ := startFounderOf(t)
	before := command.ReportNode{
		NodeID: s.cfg.NodeID, ClusterAddress: "127.0.0.1:1", APIURL: "https://127.0.0.1:2", GossipAddress: "127.0.0.1:3",
		Program: command.Program{Version: "before", Lowest: 1, Highest: 1},
	}
	must(t, s.member.Load().service.ReportNode(t.Context(), before))
	await(t, "the node to say where it is", func() bool {
		status, text := askAdmin(t, s, "GET", wire.AdminPathUpgrade, "")
		shown := s.status().Members[0]
		return status == 200 && strings.Contains(text, `"version":"test"`) && shown.ClusterAddress == s.cfg.ClusterAdvertise && shown.APIURL == s.cfg.APIURL
	})
}

// A node says what it runs and the cluster follows it to its level, once; there
// is no way back.
func TestTheLevelOfAClusterOfOne(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.Version = strings.Repeat("v", 100) })
	f := func(method, body string, good bool, words string) (reply wire.UpgradeStatus) {
		t.Helper()
		status, text := askAdmin(t, s, method, wire.AdminPathUpgrade, body)
		if (status == 200) != good || !strings.Contains(text, words) {
			t.Errorf("%s %s: %d %s", method, body, status, text)
		} else if good {
			must(t, json.Unmarshal([]byte(text), &reply))
		}
		return reply
	}
	got := f("GET", "", true, "")
	if len(got.Nodes) != 1 || got.Level != state.FeatureLevel || got.Possible != state.FeatureLevel || got.Nodes[0].Version != s.cfg.Version[:64] {
		t.Errorf("a new cluster is at %+v", got)
	}
	f("POST", "{}", false, "the newest that its nodes know")
	f("POST", `{"level": 9}`, false, "knows the feature levels 1 to 1 and not 9")
	f("POST", `{"level": 1}`, false, "goes to no lower one")
}
