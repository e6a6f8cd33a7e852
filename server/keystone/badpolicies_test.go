package keystone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/keystone"
)

// A policy that breaks a rule is refused as what it is, in the shape of the
// identity service, by a new one and by a changed one alike, and changes
// nothing. How much work that is, is bounded by what is read of it.
func TestBadPolicies(t *testing.T) {
	w := newWorld(t)
	token := w.tokenOf("account", "admin", ofAccount("account"))
	w.change(fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")))
	w.values = map[string]string{"role_id": fsmtest.ID("p")}
	before := w.replica.Root().Hash()
	f := func(name, document, why string) {
		t.Helper()
		body := `{"role":{"display_name":"bad","type":"AX","policy":` + document + `}}`
		for _, e := range []keystone.Endpoint{keystone.CreatePolicy, keystone.UpdatePolicy} {
			a := w.ask(e, "POST", "/v3.0/OS-ROLE/roles", body, "X-Auth-Token", token)
			a.wantRefused(t, 400)
			if !strings.Contains(a.body, why) || len(a.body) > 2000 {
				t.Errorf("%s: %.300s, want %q", name, a.body, why)
			}
		}
	}
	one := func(statement string) string { return `{"Version":"1.1","Statement":[` + statement + `]}` }
	f("an unknown member of the document", `{"Version":"1.1","Statement":[{"Effect":"Allow","Action":"kms:*"}],"Id":"x"}`, "Version and Statement")
	f("an unknown member of a statement", one(`{"Effect":"Allow","Action":"kms:*","NotAction":"kms:cmk:get"}`), "Version and Statement")
	f("a principal", one(`{"Effect":"Allow","Action":"kms:*","Principal":"*"}`), "Version and Statement")
	f("a member twice", one(`{"Effect":"Deny","Effect":"Allow","Action":"kms:*"}`), "twice")
	f("a denied action that there is not", one(`{"Effect":"Deny","Action":["kms:cmk:get","kms:cmk:decript"]}`), "kms:cmk:decript of statement 1")
	f("no document", `"kms:*"`, "Version and Statement")
	f("nothing", `null`, "version")
	f("wildcards upon wildcards", one(`{"Effect":"Allow","Action":"kms:*"`+`,"Resource":"kms:*:*:KeyId:`+strings.Repeat("*a", 100)+`"}`), "at most")
	f("wildcards of an action", one(`{"Effect":"Allow","Action":"`+strings.Repeat("*", 7)+`"}`), "at most 6")
	f("more wildcards than may be", one(`{"Effect":"Allow","Action":"kms:`+strings.Repeat("*", 300)+`"}`), "at most")
	f("nested", one(`{"Effect":"Allow","Action":"kms:*","Condition":`+strings.Repeat(`{"a":`, 500)+`1`+strings.Repeat(`}`, 500)+`}`), "nested too deeply")

	var conditions strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&conditions, `,"StringLike%d":{"g:UserName":["%s"]}`, i, strings.Repeat("*a", 10))
	}
	hundred := one(`{"Effect":"Deny","Action":"*","Condition":{` + conditions.String()[1:] + `}}`)
	if len(hundred) < 100_000 {
		t.Fatalf("%d bytes", len(hundred))
	}
	f("100 kB of conditions", hundred, "at most 12288 bytes")
	f("as many conditions as are read", one(`{"Effect":"Deny","Action":"*","Condition":{`+conditions.String()[1:11000]+`":{"g:UserName":["a"]}}}`), "")
	if w.replica.Root().Hash() != before {
		t.Error("the state has changed")
	}
}

// The hardest patterns that may be cost a bounded time on the longest names
// that may be: the work is counted by a clock that is generous a thousandfold.
func TestHardPatternsAreBounded(t *testing.T) {
	hard := strings.Repeat("*a", policy.MaxWildcards) + "b"
	statement := policy.Statement{Deny: true, Actions: []string{"kms:cmk:list"}}
	for range policy.MaxConditions {
		statement.Conditions = append(statement.Conditions, policy.Condition{Operator: "StringNotLike", Key: "g:UserName", Values: []string{hard, hard, hard, hard, hard, hard, hard, hard}})
	}
	compiled, err := policy.Compile(&policy.Document{Version: policy.VersionPolicy, Statements: []policy.Statement{statement, statement}})
	if err != nil {
		t.Fatal(err)
	}
	r := policy.Request{Action: policy.ActionListKeys, UserName: strings.Repeat("a", 64)}
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			compiled.Judge(&r)
		}
	})
	if each := result.NsPerOp(); each > 50_000_000 {
		t.Errorf("one judgement takes %d ns", each)
	}
}
