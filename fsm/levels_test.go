package fsm_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// The level goes up when the last node says that it knows it, never down, and
// then nobody comes in who does not know it.
func TestTheLevelIsRaisedWhenAllNodesKnowIt(t *testing.T) {
	m := fsmtest.BootstrappedAt(t, 3)
	refused := func(body command.Body, code fsm.Code, words string) {
		t.Helper()
		before := m.State()
		r := m.Do(body).Refusal
		if r == nil || r.Code != code || !strings.Contains(r.Message, words) {
			t.Errorf("%+v: got %v, want %s with %q", body, r, code, words)
		}
		if after := m.State(); after.Cluster().FeatureLevel != before.Cluster().FeatureLevel || !slices.Equal(after.Nodes(), before.Nodes()) {
			t.Errorf("%+v has changed something", body)
		}
	}
	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: m.Now + 3_600_000})
	m.Must(fsmtest.AdmitNode("t", "n2"))
	refused(command.RaiseLevel{Level: 2}, fsm.CodeFeatureLevel, "node "+fsmtest.NodeID+" runs")
	m.Must(fsmtest.ReportNode(fsmtest.NodeID, 3))
	refused(command.RaiseLevel{Level: 2}, fsm.CodeFeatureLevel, "node n2 runs")
	m.Must(fsmtest.ReportNode("n2", 2))
	refused(command.RaiseLevel{Level: 3}, fsm.CodeFeatureLevel, "node n2 runs")
	refused(command.RaiseLevel{Level: 1}, fsm.CodeStale, "no lower one")
	refused(command.RaiseLevel{}, fsm.CodeStale, "no lower one")

	m.Must(fsmtest.ReportNode("n2", 1)) // its operator went back, which is possible until now
	refused(command.RaiseLevel{Level: 2}, fsm.CodeFeatureLevel, "node n2 runs")
	m.Must(fsmtest.ReportNode("n2", 2))
	m.Must(command.RaiseLevel{Level: 2})
	if level := m.State().Cluster().FeatureLevel; level != 2 {
		t.Fatalf("the cluster is at level %d", level)
	}
	refused(command.RaiseLevel{Level: 2}, fsm.CodeStale, "is at feature level 2")
	refused(fsmtest.ReportNode("n2", 1), fsm.CodeFeatureLevel, "and not 2")

	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("u"), Expires: m.Now + 3_600_000})
	refused(fsmtest.AdmitNode("u", "n3"), fsm.CodeFeatureLevel, "node n3 runs")
	newcomer := fsmtest.AdmitNode("u", "n3")
	newcomer.Node.Program = command.Program{Version: "next", Lowest: 3, Highest: 4}
	refused(newcomer, fsm.CodeFeatureLevel, "levels 3 to 4 and not 2")
	newcomer.Node.Program.Lowest = 5
	refused(newcomer, fsm.CodeInvalid, "contradicts itself")
	newcomer.Node.Program = command.Program{Version: "next", Lowest: 1, Highest: 4}
	m.Must(newcomer)
	m.Must(command.RemoveNode{NodeID: "n2"})
	m.Must(command.RaiseLevel{Level: 3}) // who is out holds nobody back
}

// A report says where a node is now.
func TestANodeReportsWhereItIs(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	b := fsmtest.ReportNode(fsmtest.NodeID, 1)
	b.ClusterAddress, b.APIURL, b.GossipAddress = "moved.test:1", "https://moved.test:2", "moved.test:3"
	m.Must(b)
	before, _ := m.State().Node(fsmtest.NodeID)
	if before.ClusterAddress != b.ClusterAddress || before.APIURL != b.APIURL || before.GossipAddress != b.GossipAddress || before.Version != "test" || before.RootsApproved != 1 {
		t.Errorf("after the report the node is %+v", before)
	}
	b.GossipAddress = ""
	if r := m.Do(b).Refusal; r == nil || r.Code != fsm.CodeInvalid {
		t.Errorf("a report without an address: %v", r)
	}
	if r := m.Do(fsmtest.ReportNode("n9", 1)).Refusal; r == nil || r.Code != fsm.CodeNotFound {
		t.Errorf("a report of nobody: %v", r)
	}
}

// An older program stops where the cluster went on without it, and reads no
// snapshot from after that.
func TestAnOlderProgramStopsAtAHigherLevel(t *testing.T) {
	next, old := fsmtest.BootstrappedAt(t, 2), fsmtest.Bootstrapped(t)
	next.Must(fsmtest.ReportNode(fsmtest.NodeID, 2))
	old.Must(fsmtest.ReportNode(fsmtest.NodeID, 2))
	next.Must(command.RaiseLevel{Level: 2})
	before := old.State()
	entry := old.Entry(old.Command(command.RaiseLevel{Level: 2}))
	if _, err := old.Machine.Apply([]fsm.Entry{entry}); !errors.Is(err, fsm.ErrUnknownLevel) {
		t.Errorf("an older program applies the raise: %v", err)
	}
	if old.State() != before {
		t.Error("an older program is at the higher level")
	}
	var file bytes.Buffer
	if _, err := next.Snapshot().WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	if err := fsm.New().Restore(bytes.NewReader(file.Bytes())); !errors.Is(err, snapshot.ErrNewer) {
		t.Errorf("an older program reads the newer snapshot: %v", err)
	}
	again := fsm.NewAt(state.FeatureLevel + 1)
	if err := again.Restore(&file); err != nil || again.State().Hash() != next.State().Hash() {
		t.Errorf("the newer program reads its own snapshot: %v", err)
	}
}
