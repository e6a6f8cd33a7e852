package fsm_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// seal is something sealed under a generation of the roots, as its header says.
func seal(generation byte, text string) []byte {
	return append([]byte{1, 0, 0, 0, generation}, text...)
}

// rotating is a cluster of two nodes whose bootstrap is sealed under generation
// 1, with a key in it.
func rotating(t *testing.T) *fsmtest.Machine {
	t.Helper()
	m := fsmtest.New(t)
	b := fsmtest.Bootstrap()
	b.SealedCAKey, b.SealedGossip, b.SealedSecret = seal(1, "CA"), seal(1, "gossip"), seal(1, "secret")
	m.Must(b)
	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: fsmtest.Start + 3_600_000})
	m.Must(fsmtest.AdmitNode("t", "n2"))
	m.Must(fsmtest.ApproveRoots("n2"))
	m.Must(fsmtest.CreateKey("a"))
	return m
}

func under(what state.SealedWhat, id string, number uint32, old, next []byte) command.Rewrapped {
	p := command.Rewrapped{What: what, ID: id, Number: number, Old: sha256.Sum256(old), Bytes: next}
	if what == state.SealedVersion {
		p.MAC = make([]byte, 32)
	}
	return p
}

// A rotation goes from one generation to the next, step by step, and never
// leaves a node behind or a thing under roots that are gone.
func TestRootsAreRotated(t *testing.T) {
	m := rotating(t)
	refused := func(body command.Body, code fsm.Code, say string) {
		t.Helper()
		before := m.State().Hash()
		got := m.Do(body).Refusal
		if got == nil || got.Code != code || !strings.Contains(got.Message, say) {
			t.Errorf("%+v: %+v", body, got)
		}
		if m.State().Cluster().RootGeneration == 0 || before == m.State().Hash() && got == nil {
			t.Error("a refusal changed something")
		}
	}
	stage := command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("canary 2")}
	use := command.RotateRoots{Step: command.RootUse, Generation: 2}
	retire := command.RotateRoots{Step: command.RootRetire, Generation: 1}
	refused(use, fsm.CodeStale, "not at that step")
	refused(retire, fsm.CodeStale, "no old root keys")
	refused(command.RotateRoots{Step: command.RootStage, Generation: 2}, fsm.CodeInvalid, "canary")
	refused(command.RotateRoots{Step: command.RootStage, Generation: 3, Canary: []byte("c")}, fsm.CodeInvalid, "is not 3")
	refused(command.RotateRoots{Step: 5}, fsm.CodeInvalid, "no such step")
	m.Must(stage)
	refused(stage, fsm.CodeStale, "being rotated")
	if c := m.State().Cluster(); c.RootGeneration != 1 || string(c.Canary) != "canary" || c.RootNext != 2 || c.TakesRoots(2) || !c.TakesRoots(1) {
		t.Errorf("staged: %+v", c)
	}

	// All that were given roots hold the new ones first.
	m.Must(command.ReportRoots{NodeID: fsmtest.NodeID, Generation: 2, Canary: sha256.Sum256([]byte("canary 2"))})
	refused(use, fsm.CodeStale, "node n2 does not hold root generation 2")
	refused(command.ReportRoots{NodeID: "n9", Generation: 2}, fsm.CodeNotFound, "")
	refused(command.ReportRoots{NodeID: "n2", Generation: 3}, fsm.CodeStale, "")
	m.Must(command.ReportRoots{NodeID: "n2", Generation: 2, Canary: sha256.Sum256([]byte("canary 2"))})
	m.Must(use)
	refused(use, fsm.CodeStale, "not at that step")
	c := m.State().Cluster()
	if c.RootGeneration != 2 || string(c.Canary) != "canary 2" || c.RootOld != 1 || string(c.RootOldCanary) != "canary" || c.RootNext != 0 || !c.TakesRoots(1) || !c.TakesRoots(2) {
		t.Errorf("in use: %+v", c)
	}
	for _, node := range m.State().Nodes() {
		if node.RootsApproved != 2 {
			t.Errorf("node %s is approved for %d", node.ID, node.RootsApproved)
		}
	}

	// Who began before the change ends after it, and later ones are under the new.
	late, young := fsmtest.CreateKey("late"), fsmtest.CreateKey("young")
	young.RootGeneration = 2
	m.Must(late)
	m.Must(young)
	if all, imports := m.State().SealedUnder(1); all != 5 || imports != 0 {
		t.Errorf("%d things and %d imports are under generation 1", all, imports)
	}
	refused(command.RotateRoots{Step: command.RootRetire, Generation: 1}, fsm.CodeStale, "tokens of users")
	m.Now += 24 * 3_600_000
	refused(retire, fsm.CodeStale, "5 things are still under")

	// What is put under the new roots names what it replaces.
	a := fsmtest.CreateKey("a")
	version := under(state.SealedVersion, a.KeyID, 1, a.Blob, []byte("a under 2"))
	parts := []command.Rewrapped{
		version, version, // the second comes late
		under(state.SealedVersion, late.KeyID, 1, []byte("something else"), []byte("late under 2")),
		under(state.SealedVersion, fsmtest.KeyID("gone"), 1, a.Blob, []byte("gone")),
		under(state.SealedAccessKey, fsmtest.AccessKeyID, 0, seal(1, "secret"), seal(2, "secret")),
		under(state.SealedCAKey, fsmtest.ClusterID, 0, seal(1, "CA"), seal(2, "CA")),
		under(state.SealedGossip, fsmtest.ClusterID, 0, seal(1, "gossip"), seal(2, "gossip")),
		under(state.SealedGossipOther, fsmtest.ClusterID, 0, nil, seal(2, "gossip")),
		under(state.SealedFactor, fsmtest.UserID, 0, nil, seal(2, "factor")),
		under(state.SealedImport, a.KeyID, 0, nil, seal(2, "pair")),
	}
	result := m.Must(command.RewrapRecords{Generation: 2, Parts: parts})
	got, err := result.Rewrapped()
	if err != nil || got.Done != 4 || got.Stale != 6 {
		t.Errorf("%+v, %v", got, err)
	}
	if v, _ := m.State().Version(a.KeyID, 1); v.RootGeneration != 2 || string(v.Blob) != "a under 2" || v.Created == 0 {
		t.Errorf("the version is %+v", v)
	}
	if v, _ := m.State().Version(late.KeyID, 1); v.RootGeneration != 1 {
		t.Errorf("what was changed meanwhile became %+v", v)
	}
	refused(command.RewrapRecords{Generation: 1, Parts: parts[:1]}, fsm.CodeStale, "uses root generation 2")
	refused(command.RewrapRecords{Generation: 2}, fsm.CodeInvalid, "")
	refused(command.RewrapRecords{Generation: 2, Parts: make([]command.Rewrapped, 257)}, fsm.CodeInvalid, "")
	noMAC := version
	noMAC.MAC = nil
	refused(command.RewrapRecords{Generation: 2, Parts: []command.Rewrapped{noMAC}}, fsm.CodeInvalid, "lacks its MAC")
	refused(retire, fsm.CodeStale, "1 things are still under")
	m.Must(command.RewrapRecords{Generation: 2, Parts: []command.Rewrapped{under(state.SealedVersion, late.KeyID, 1, late.Blob, []byte("late under 2"))}})

	m.Must(retire)
	if c := m.State().Cluster(); c.RootOld != 0 || c.RootOldCanary != nil || c.TakesRoots(1) {
		t.Errorf("retired: %+v", c)
	}
	refused(fsmtest.CreateKey("b"), fsm.CodeInvalid, "generation 1")
	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 3, Canary: []byte("canary 3")})
}

// An import that was begun under the old roots is waited for; tokens are ended
// when the operator says so.
func TestOldRootsWaitForImports(t *testing.T) {
	m := rotating(t)
	m.Must(fsmtest.CreateExternalKey("e"))
	m.Must(command.OpenImport{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("e"), TokenID: make([]byte, 16), Expires: m.Now + 5000, RootGeneration: 1,
		Blob: []byte("blob"), PublicKey: []byte("public key"), MAC: make([]byte, 32)})
	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("canary 2")})
	m.Must(command.ReportRoots{NodeID: fsmtest.NodeID, Generation: 2, Canary: sha256.Sum256([]byte("canary 2"))})
	m.Must(command.ReportRoots{NodeID: "n2", Generation: 2, Canary: sha256.Sum256([]byte("canary 2"))})
	m.Must(command.RotateRoots{Step: command.RootUse, Generation: 2})
	a := fsmtest.CreateKey("a")
	m.Must(command.RewrapRecords{Generation: 2, Parts: []command.Rewrapped{
		under(state.SealedVersion, a.KeyID, 1, a.Blob, []byte("a under 2")),
		under(state.SealedAccessKey, fsmtest.AccessKeyID, 0, seal(1, "secret"), seal(2, "secret")),
		under(state.SealedCAKey, fsmtest.ClusterID, 0, seal(1, "CA"), seal(2, "CA")),
		under(state.SealedGossip, fsmtest.ClusterID, 0, seal(1, "gossip"), seal(2, "gossip")),
	}})
	retire := command.RotateRoots{Step: command.RootRetire, Generation: 1, EndTokens: true}
	if r := m.Do(retire).Refusal; r == nil || !strings.Contains(r.Message, "1 imports") {
		t.Errorf("with an import under way: %v", r)
	}
	m.Now += 5000
	m.Must(command.ExpireImport{KeyID: fsmtest.KeyID("e"), Due: m.Now})
	m.Must(retire)
}

// A generation that nothing uses is given up; its number serves again, and who
// held the one that was given up does not count as holding the next.
func TestStagedRootsAreGivenUp(t *testing.T) {
	m := rotating(t)
	refused := func(body command.Body, say string) {
		t.Helper()
		before := m.State().Hash()
		if got := m.Do(body).Refusal; got == nil || got.Code != fsm.CodeStale || !strings.Contains(got.Message, say) || m.State().Cluster().RootGeneration != 1 {
			t.Errorf("%+v: %+v (%x)", body, got, before)
		}
	}
	abort := command.RotateRoots{Step: command.RootAbort, Generation: 2}
	use := command.RotateRoots{Step: command.RootUse, Generation: 2}
	report := func(node, canary string) command.ReportRoots {
		return command.ReportRoots{NodeID: node, Generation: 2, Canary: sha256.Sum256([]byte(canary))}
	}
	refused(abort, "nothing to give up")
	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("lost")})
	m.Must(report(fsmtest.NodeID, "lost"))
	m.Must(report("n2", "lost"))
	refused(command.RotateRoots{Step: command.RootAbort, Generation: 3}, "nothing to give up")
	m.Must(abort)
	refused(use, "not at that step")
	if c := m.State().Cluster(); c.RootNext != 0 || c.RootNextCanary != nil || c.RootOld != 0 || c.RootGeneration != 1 {
		t.Errorf("given up: %+v", c)
	}

	m.Must(command.RotateRoots{Step: command.RootStage, Generation: 2, Canary: []byte("made anew")})
	refused(use, "does not hold root generation 2")
	refused(report("n2", "lost"), "given up and made anew") // it was on its way
	m.Must(report(fsmtest.NodeID, "made anew"))
	refused(use, "node n2 does not hold root generation 2")
	m.Must(report("n2", "made anew"))
	m.Must(use)
	if got := m.Do(abort).Refusal; got == nil || got.Code != fsm.CodeStale {
		t.Errorf("given up once in use: %+v", got)
	}
}
