package policy_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm/policy"
)

// What is always allowed is allowed by the policies read from end to end,
// whatever the request says; and a statement about everything without a
// condition always allows unless another denies.
func TestAlwaysAllowedIsAllowed(t *testing.T) {
	statement := rapid.Custom(func(t *rapid.T) policy.Statement {
		s := policy.Statement{
			Deny:      rapid.IntRange(0, 4).Draw(t, "deny") == 0,
			Actions:   rapid.SliceOfN(rapid.SampledFrom([]string{"*", "kms:*", "kms:cmk:*", "kms:CMK:get*", "kms:dek:crypto", "kms:dek:decrypt", "kms:*:encrypt", "iam:*"}), 1, 2).Draw(t, "actions"),
			Resources: rapid.SliceOfN(rapid.SampledFrom([]string{"*", "kms:*:*:*:*", "*:*:*:*:*", "kms:*:*:KeyId:*", "*:*:*:alias:*", "*:region-1:*:*:*", "*:*:d1:*:*"}), 0, 2).Draw(t, "resources"),
		}
		if rapid.IntRange(0, 2).Draw(t, "conditioned") == 0 {
			s.Conditions = []policy.Condition{{Operator: "StringEquals", Key: "g:UserName", Values: []string{rapid.SampledFrom([]string{"ada", "bob"}).Draw(t, "name")}}}
		}
		return s
	})
	document := rapid.Custom(func(t *rapid.T) policy.Document {
		return policy.Document{Version: policy.VersionPolicy, Statements: rapid.SliceOfN(statement, 1, 3).Draw(t, "statements")}
	})
	always, notAlways := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		documents := rapid.SliceOfN(document, 0, 3).Draw(t, "documents")
		var policies []*policy.Policy
		for i := range documents {
			p, err := policy.Compile(&documents[i])
			if err != nil {
				t.Fatal(err)
			}
			policies = append(policies, p)
		}
		r := policy.Request{
			Action: rapid.SampledFrom(policy.Actions()).Draw(t, "action"), Region: "region-1", DomainID: "d1",
			UserName: rapid.SampledFrom([]string{"ada", "bob", "eve"}).Draw(t, "user"), OnKey: rapid.Bool().Draw(t, "on key"),
		}
		if r.OnKey {
			r.Key = policy.Key{ID: "k-1", Alias: rapid.SampledFrom([]string{"", "a"}).Draw(t, "alias")}
		}
		want := policy.Silent
		certain, denied := false, false
		for _, d := range documents {
			want = max(want, naiveJudge(d, r))
			for _, s := range d.Statements {
				about := slices.ContainsFunc(s.Actions, func(pattern string) bool {
					return naiveJudge(policy.Document{Statements: []policy.Statement{{Actions: []string{pattern}}}}, r) == policy.Allowed
				})
				denied = denied || s.Deny && about
				certain = certain || !s.Deny && about && len(s.Conditions) == 0 &&
					(len(s.Resources) == 0 || slices.Contains(s.Resources, "*") || slices.Contains(s.Resources, "*:*:*:*:*"))
			}
		}
		set := policy.AlwaysAllowed(slices.Values(policies))
		got := set.Allow(&r)
		if got && want != policy.Allowed || got != (certain && !denied) {
			t.Fatalf("always allowed: %v; read from end to end %v:\n%+v\n%+v", got, want, documents, r)
		}
		if got {
			always++
		} else if want == policy.Allowed {
			notAlways++
		}
	})
	if always == 0 || notAlways == 0 {
		t.Errorf("%d always allowed, %d allowed otherwise", always, notAlways)
	}
	var none policy.Always
	if none.Allow(&policy.Request{Action: policy.ActionGetKey}) || none.Allow(&policy.Request{Action: "none"}) {
		t.Error("the zero value allows something")
	}
}
