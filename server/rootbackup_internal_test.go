package server

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Any node backs up the roots of the state; no share is in a trace; what is
// refused gives none.
func TestRootsAreBackedUp(t *testing.T) {
	c := newTrio(t)
	reply, err := c.nodes[1].backUpRoots(t.Context(), wire.BackUpRootsRequest{Threshold: 2, Shares: 3})
	must(t, err)
	b, err := custody.Open(reply.File, reply.Shares[1:])
	must(t, err)
	if reply.ClusterID != c.founded.ClusterID || reply.RootGeneration != 1 || reply.Set != b.SetID() || string(b.Canary) != string(c.nodes[0].machine.State().Cluster().Canary) {
		t.Errorf("the backup is %+v of %+v", b, reply)
	}
	found := false
	for _, traces := range c.allTraces() {
		for _, trace := range traces {
			raw, err := json.Marshal(trace)
			must(t, err)
			found = found || strings.Contains(string(raw), kms.OpBackUpRoots.Name) && strings.Contains(string(raw), reply.Set)
			for _, share := range reply.Shares {
				if strings.Contains(string(raw), share[14:40]) {
					t.Errorf("a share is in a trace: %s", raw)
				}
			}
		}
	}
	if !found {
		t.Error("no trace says which set of shares was given out")
	}
	for _, bad := range []wire.BackUpRootsRequest{{}, {Threshold: 1, Shares: 5}, {Threshold: 3, Shares: 2}, {Threshold: 2, Shares: 51}} {
		if reply, err := c.nodes[0].backUpRoots(t.Context(), bad); err == nil || reply != nil {
			t.Errorf("%+v is answered", bad)
		}
	}
	if _, err := (&Server{}).backUpRoots(t.Context(), wire.BackUpRootsRequest{Threshold: 2, Shares: 3}); err != errNoCluster {
		t.Errorf("without a cluster: %v", err)
	}
}
