package server

import (
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
)

// A member that was removed is not believed about who asks, though the state that
// this node has when the request comes still has it with the root keys: the
// request is answered from a newer one.
func TestARemovedMemberForwardsNothing(t *testing.T) {
	s, founded := startFounderOf(t)
	old := fsmtest.Bootstrapped(t)
	old.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: old.Now + 3_600_000})
	old.Must(fsmtest.AdmitNode("t", "n2"))
	old.Must(fsmtest.ApproveRoots("n2"))
	behind := &Server{cfg: s.cfg, machine: old.Machine}
	if !behind.trusted("n2") || s.trusted("n2") {
		t.Fatal("the old state is to believe n2, and the newest is not")
	}
	forward := func(peer string) (huawei.Outcome, error) {
		t.Helper()
		body, err := cbor.Marshal(huawei.Forwarded{
			Method: "POST", URI: "/v1.0/" + founded.ProjectID + "/kms/list-keys", Body: []byte("{}"), Source: "192.0.2.1", RequestID: "r",
			Principal: iam.Principal{UserID: founded.UserID, UserName: founded.UserName, DomainID: founded.DomainID, AccessKeyID: founded.AccessKey},
		})
		must(t, err)
		raw, err := behind.answerForwarded(t.Context(), s.member.Load(), peer, body)
		if err != nil {
			return huawei.Outcome{}, err
		}
		var out huawei.Outcome
		must(t, cbor.Unmarshal(raw, &out))
		return out, nil
	}
	if out, err := forward("n2"); err == nil || !strings.Contains(err.Error(), "node n2 was not given the root keys") {
		t.Errorf("a member that was removed forwards: %d %s, %v", out.Status, out.Body, err)
	}
	if out, err := forward(s.cfg.NodeID); err != nil || out.Status != 200 {
		t.Errorf("a member with the root keys forwards: %d %s, %v", out.Status, out.Message, err)
	}
}
