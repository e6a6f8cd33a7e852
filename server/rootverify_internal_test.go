package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// verifyAll takes all steps with a node, through the socket of another.
func verifyAll(t *testing.T, through *Server, node string) (all wire.VerifyRootsReply) {
	t.Helper()
	req := wire.VerifyRootsRequest{NodeID: node}
	for {
		reply, err := through.verifyRoots(t.Context(), req)
		must(t, err)
		opened, failures, passed := all.Opened+reply.Opened, append(all.Failures, reply.Failures...), all.Passed+reply.Passed
		all = *reply
		all.Opened, all.Failures, all.Passed = opened, failures, passed
		if req.After = reply.Next; req.After == "" {
			return all
		}
	}
}

// Every node proves its root keys and all that is under them, asked from any;
// what was altered, and a module that is gone, is told from that.
func TestRootsAreVerified(t *testing.T) {
	c := newTrio(t)
	status, key := c.ask(0, "create-key", `{"key_alias":"k"}`)
	if status != http.StatusOK {
		t.Fatal(status, key)
	}
	for _, body := range []string{`{"key_alias":"s","key_spec":"SM4"}`, `{"key_alias":"p","key_spec":"EC_P256","key_usage":"SIGN_VERIFY"}`} {
		if status, answer := c.ask(1, "create-key", body); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	_, external := c.ask(0, "create-key", `{"key_alias":"e","origin":"external"}`)
	id := external["key_info"].(map[string]any)["key_id"].(string)
	if status, answer := c.ask(0, "get-parameters-for-import", `{"key_id":"`+id+`","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	// A node's own view may be behind; each verifies what was acknowledged.
	for _, s := range c.nodes {
		got := verifyAll(t, c.nodes[2], s.cfg.NodeID)
		// CA, gossip, the administrator's access key, three versions, a wrapping pair, the key of the traces.
		if !got.Holds || got.Problem != "" || len(got.Failures) > 0 || got.Opened != 8 || got.RootGeneration != 1 {
			t.Errorf("node %s: %+v", s.cfg.NodeID, got)
		}
	}

	// What the state holds is altered: it is named, the rest opens.
	root := c.nodes[0].machine.State()
	altered := root.Txn()
	version, _ := root.Version(key["key_info"].(map[string]any)["key_id"].(string), 1)
	damaged := *version
	damaged.MAC = make([]byte, len(version.MAC))
	altered.PutVersion(&damaged)
	cluster := *root.Cluster()
	cluster.SealedCAKey = root.Cluster().SealedGossip
	altered.PutCluster(&cluster)
	p := &rootProof{server: c.nodes[0], member: c.nodes[0].member.Load(), root: altered.Commit(), every: 1, reply: &wire.VerifyRootsReply{}}
	must(t, p.step(t.Context(), state.SealedPlace{}))
	if f := p.reply.Failures; p.reply.Opened != 6 || len(f) != 2 || f[0].What != "ca-key" || f[1].What != "version" || f[1].ID != damaged.KeyID+"/1" ||
		!strings.Contains(f[1].Problem, hsm.ErrMAC.Error()) {
		t.Errorf("an altered state: %+v", p.reply)
	}

	// A module that does not answer says nothing about any record.
	c.modules[1].set(hsm.ErrUnavailable)
	reply, err := c.nodes[0].verifyRoots(t.Context(), wire.VerifyRootsRequest{NodeID: "n2"})
	if err == nil && (reply.Holds || reply.Problem == "" || len(reply.Failures) > 0) {
		t.Errorf("without its module a node says %+v", reply)
	}
	c.modules[1].set(nil)

	for _, req := range []wire.VerifyRootsRequest{{NodeID: "nobody"}, {After: "seven"}, {After: "7:zz"}, {Every: -1}} {
		if _, err := c.nodes[0].verifyRoots(t.Context(), req); err == nil {
			t.Errorf("%+v is answered", req)
		}
	}
	if _, err := (&Server{}).verifyRoots(t.Context(), wire.VerifyRootsRequest{}); err != errNoCluster {
		t.Errorf("without a cluster: %v", err)
	}
}
