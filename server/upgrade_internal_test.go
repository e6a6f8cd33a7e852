package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

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
