package huawei_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
)

// apply has a command applied, whoever may ask for it.
func (w *world) apply(body command.Body) {
	w.t.Helper()
	if result := propose(w.t, w.replica, body); result.Refusal != nil {
		w.t.Fatalf("%v: %v", body.Type(), result.Refusal)
	}
}

func propose(t testing.TB, r *single, body command.Body) fsm.Result {
	t.Helper()
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Caller, cmd.Proposal = fsmtest.CallerFor(body.Type()), command.Proposal{ID: uuid.NewString()}
	data, err := command.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.Propose(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func believed(*state.Root) bool { return true }

// A peer that answers for a node without a module asks its own state about the
// credential, of whatever kind it is.
func TestForwardedCredentials(t *testing.T) {
	hour := time.Now().Add(time.Hour).UnixMilli()
	base := iam.Principal{UserID: fsmtest.UserID, UserName: fsmtest.UserName, DomainID: fsmtest.DomainID}
	accessKey, token, vouched := base, base, base
	accessKey.AccessKeyID = fsmtest.AccessKeyID
	token.Via, token.CredentialID, token.Expires = command.ViaToken, fsmtest.APITokenID("a"), hour
	token.Confined, token.ProjectID = true, fsmtest.ProjectID
	vouched.Via, vouched.CredentialID, vouched.Expires = command.ViaProvider, "ca", hour

	f := func(name string, p iam.Principal, before command.Body, status int, code string) {
		t.Helper()
		w := newWorld(t)
		w.apply(fsmtest.AddCA("ca"))
		if before != nil {
			w.apply(before)
		}
		out := huawei.ListKeys.Answer(t.Context(), w.dialect, &huawei.Forwarded{
			Method: "POST", URI: "/v1.0/" + fsmtest.ProjectID + "/kms/list-keys", Body: []byte("{}"), Source: "192.0.2.1", RequestID: "r", Principal: p,
		}, believed, huawei.Path{Project: fsmtest.ProjectID})
		if out.Status != status || out.Code != code {
			t.Errorf("%s: %d %s %s, want %d %s", name, out.Status, out.Code, out.Message, status, code)
		}
		if len(w.traces.named("listKeys")) != 0 {
			t.Errorf("%s: the node that asked writes the trace, not this one", name)
		}
	}
	of := func(change func(p *iam.Principal), p iam.Principal) iam.Principal { change(&p); return p }
	const gateway = "APIGW.0301"
	f("an access key", accessKey, nil, 200, "")
	f("an access key that is gone", of(func(p *iam.Principal) { p.AccessKeyID = "GONE" }, accessKey), nil, 401, gateway)
	f("an access key that is disabled", accessKey, command.UpdateAccessKey{ID: fsmtest.AccessKeyID}, 401, gateway)
	f("an access key of another user", of(func(p *iam.Principal) { p.UserID = fsmtest.ID("eve") }, accessKey), fsmtest.CreateUser("eve"), 401, gateway)
	f("no credential", base, nil, 401, gateway)

	f("a token", token, nil, 200, "")
	f("a token that was revoked", token, command.RevokeToken{TokenID: fsmtest.APITokenID("a"), UserID: fsmtest.UserID, Expires: fsmtest.Start + 3_600_000}, 401, gateway)
	f("a token that is over", of(func(p *iam.Principal) { p.Expires = time.Now().UnixMilli() - 1 }, token), nil, 401, gateway)
	f("a token from before the password", token, command.ChangePassword{UserID: fsmtest.UserID, PasswordHash: fsmtest.PasswordHash}, 401, gateway)
	f("a token for another project", of(func(p *iam.Principal) { p.ProjectID = fsmtest.ID("other") }, token), nil, 403, "KMS.0321")
	f("a token without a project", of(func(p *iam.Principal) { p.ProjectID = "" }, token), nil, 403, "KMS.0321")

	f("one that a provider vouches for", vouched, nil, 200, "")
	f("a provider that is gone", vouched, command.RemoveProvider{ID: "ca"}, 401, gateway)
	f("a certificate that is over", of(func(p *iam.Principal) { p.Expires = time.Now().UnixMilli() - 1 }, vouched), nil, 401, gateway)
	f("another account", of(func(p *iam.Principal) { p.DomainID = fsmtest.ID("other") }, vouched), nil, 401, gateway)
}
