package kms

import (
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// A command of a level that the cluster has not reached is refused before it is
// proposed, with what takes the cluster there.
func TestLevelsThatAreNotReached(t *testing.T) {
	at := func(level uint32) *state.Cluster { return &state.Cluster{FeatureLevel: level} }
	f := func(c *state.Cluster, level uint32, want bool) {
		t.Helper()
		err := reached(c, command.Command{Level: level})
		switch {
		case want && err != nil:
			t.Errorf("level %d: %v", level, err)
		case !want && (err == nil || !strings.Contains(err.Error(), "kmsctl cluster upgrade raise")):
			t.Errorf("level %d: %v", level, err)
		}
	}
	f(nil, 2, true) // the one that founds the cluster
	f(at(1), 1, true)
	f(at(2), 1, true)
	f(at(2), 2, true)
	f(at(1), 2, false)
}
