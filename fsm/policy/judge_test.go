package policy_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm/policy"
)

// tags are a key's.
type tags map[string]string

func (t tags) Tag(name string) (string, bool) { v, ok := t[name]; return v, ok }

const now = 1_790_000_000_000

// request is one about a key, with everything there is to ask about.
func request(action string) policy.Request {
	return policy.Request{
		Action: action, Region: "region-1", UserID: "u1", UserName: "Ada", DomainID: "d1", DomainName: "acme",
		ProjectID: "b1", ProjectName: "region-1", Source: "192.0.2.7", Now: now, OnKey: true,
		Key: policy.Key{ID: "k-1", Alias: "app/db", Spec: "AES_256", Usage: "ENCRYPT_DECRYPT", Origin: "kms", Tags: tags{"env": "prod", "level": "3", "hot": "true"}},
	}
}

func judge(t testing.TB, r policy.Request, statements ...policy.Statement) policy.Verdict {
	t.Helper()
	p, err := policy.Compile(&policy.Document{Version: policy.VersionPolicy, Statements: statements})
	if err != nil {
		t.Fatal(err)
	}
	verdict, by := p.Judge(&r)
	if (by >= 0) != (verdict != policy.Silent) {
		t.Fatalf("%v by statement %d", verdict, by)
	}
	return verdict
}

// Every operator on every kind of value, as a condition of an Allow; and what
// cannot be judged does not allow, and denies.
func TestConditions(t *testing.T) {
	on := request(policy.ActionCryptoDEK)
	off := policy.Request{Action: policy.ActionCryptoDEK, Now: now}
	f := func(r policy.Request, operator, key string, values []string, want bool) {
		t.Helper()
		c := []policy.Condition{{Operator: operator, Key: key, Values: values}}
		if got := judge(t, r, policy.Statement{Actions: []string{"*"}, Conditions: c}); (got == policy.Allowed) != want {
			t.Errorf("%s %s %q: allow got %v", operator, key, values, got)
		}
		if got := judge(t, r, policy.Statement{Deny: true, Actions: []string{"*"}, Conditions: c}); (got == policy.Denied) != want {
			t.Errorf("%s %s %q: deny got %v", operator, key, values, got)
		}
	}
	v := func(values ...string) []string { return values }
	f(on, "StringEquals", "g:UserName", v("Ada"), true)
	f(on, "StringEquals", "G:USERNAME", v("eve", "Ada"), true)
	f(on, "StringEquals", "g:UserName", v("ada"), false)
	f(on, "StringEqualsIgnoreCase", "g:UserName", v("aDA"), true)
	f(on, "StringNotEquals", "g:UserName", v("ada"), true)
	f(on, "StringNotEquals", "g:UserName", v("eve", "Ada"), false)
	f(on, "StringNotEqualsIgnoreCase", "g:UserName", v("ada"), false)
	f(on, "StringLike", "g:DomainName", v("a*e"), true)
	f(on, "StringMatch", "g:DomainName", v("b*"), false)
	f(on, "StringNotLike", "g:DomainName", v("b*"), true)
	f(on, "StringStartWith", "kms:KeyAlias", v("app/"), true)
	f(on, "StringNotStartWith", "kms:KeyAlias", v("app/"), false)
	f(on, "StringEndWith", "kms:KeyAlias", v("/db"), true)
	f(on, "StringNotEndWith", "kms:KeyAlias", v("/web"), true)
	f(on, "StringEquals", "g:UserId", v("u1"), true)
	f(on, "StringEquals", "g:DomainId", v("d1"), true)
	f(on, "StringEquals", "g:ProjectName", v("region-1"), true)
	f(on, "StringEquals", "g:ProjectId", v("b1"), true)
	f(on, "StringEquals", "g:ServiceName", v("kms"), true)
	f(on, "StringEquals", "g:RequestedRegion", v("region-2"), false)
	f(on, "StringEquals", "kms:KeyId", v("k-1"), true)
	f(on, "StringEquals", "kms:KeySpec", v("AES_256"), true)
	f(on, "StringEquals", "kms:KeyUsage", v("SIGN_VERIFY"), false)
	f(on, "StringEquals", "kms:KeyOrigin", v("kms", "external"), true)
	f(on, "StringEquals", "g:ResourceTag/env", v("prod"), true)
	f(on, "StringEquals", "g:ResourceTag/Env", v("prod"), false)
	f(on, "NumberGreaterThan", "g:ResourceTag/level", v("2"), true)
	f(on, "NumericLessThanEquals", "g:ResourceTag/level", v("3"), true)
	f(on, "NumberLessThan", "g:ResourceTag/level", v("3"), false)
	f(on, "NumberNotEquals", "g:ResourceTag/level", v("3"), false)
	f(on, "NumberEquals", "g:ResourceTag/env", v("3"), false)
	f(on, "Bool", "g:ResourceTag/hot", v("True"), true)
	f(on, "Bool", "g:MFAPresent", v("true"), false)
	f(on, "Bool", "g:MFAPresent", v("false"), true)
	f(on, "IpAddress", "g:SourceIp", v("10.0.0.0/8", "192.0.2.0/24"), true)
	f(on, "IpAddress", "g:SourceIp", v("192.0.2.8"), false)
	f(on, "NotIpAddress", "g:SourceIp", v("192.0.2.0/24"), false)
	f(on, "NotIpAddress", "g:SourceIp", v("2001:db8::/32"), true)
	f(on, "DateLessThan", "g:CurrentTime", v("2030-01-01T00:00:00Z"), true)
	f(on, "DateGreaterThan", "g:CurrentTime", v("2030-01-01"), false)
	f(on, "DateGreaterThanEquals", "g:CurrentTime", v("1790000000"), true)
	f(on, "DateEquals", "g:CurrentTime", v("1790000000"), true)
	f(on, "DateNotEquals", "g:CurrentTime", v("1790000000"), false)
	f(on, "Null", "g:ResourceTag/none", v("true"), true)
	f(on, "Null", "g:ResourceTag/env", v("true"), false)
	f(on, "Null", "g:UserName", v("false"), true)

	// Nothing to compare with.
	f(off, "StringEquals", "kms:KeySpec", v("AES_256"), false)
	f(off, "StringNotEquals", "kms:KeySpec", v("AES_256"), true)
	f(off, "StringEqualsIfExists", "kms:KeySpec", v("AES_256"), true)
	f(on, "StringEqualsIfExists", "kms:KeySpec", v("SM4"), false)
	f(off, "IpAddress", "g:SourceIp", v("0.0.0.0/0"), false)
	f(off, "NumberLessThan", "g:MFAAge", v("300"), false)

	// What cannot be judged.
	unjudged := func(operator, key string, values ...string) {
		t.Helper()
		c := []policy.Condition{{Operator: operator, Key: key, Values: values}}
		if got := judge(t, on, policy.Statement{Actions: []string{"*"}, Conditions: c}); got != policy.Silent {
			t.Errorf("%s %s: allow got %v", operator, key, got)
		}
		if got := judge(t, on, policy.Statement{Deny: true, Actions: []string{"*"}, Conditions: c}); got != policy.Denied {
			t.Errorf("%s %s: deny got %v", operator, key, got)
		}
	}
	unjudged("StringResembles", "g:UserName", "Ada")
	unjudged("StringEquals", "g:ShoeSize", "42")
	unjudged("StringEqualsIfExists", "g:ShoeSize", "42")
	unjudged("StringNotEquals", "aws:userid", "42")
	unjudged("IpAddress", "g:SourceIp", "192.0.2.0/33")
	unjudged("NotIpAddress", "g:SourceIp", "nowhere")
	unjudged("DateLessThan", "g:CurrentTime", "tomorrow")
	unjudged("DateLessThan", "g:UserName", "2030-01-01")
	unjudged("StringEquals", "g:CurrentTime", "2030-01-01")
	unjudged("Bool", "g:MFAPresent", "yes")
	unjudged("ForAnyValue:StringEquals", "g:UserName", "Ada")
	unjudged("StringLike", "g:UserName", "*a*b*c*d*e*f*g*")
}

func TestResources(t *testing.T) {
	f := func(r policy.Request, resource string, want policy.Verdict) {
		t.Helper()
		if got := judge(t, r, policy.Statement{Actions: []string{"kms:*"}, Resources: []string{resource}}); got != want {
			t.Errorf("%s: got %v", resource, got)
		}
	}
	on := request(policy.ActionCryptoDEK)
	off := policy.Request{Action: policy.ActionListKeys, Region: "region-1", DomainID: "d1"}
	f(on, "*", policy.Allowed)
	f(on, "kms:*:*:KeyId:k-1", policy.Allowed)
	f(on, "KMS:*:*:keyid:k-1", policy.Allowed)
	f(on, "kms:region-1:d1:KeyId:k-*", policy.Allowed)
	f(on, "kms:region-2:*:KeyId:k-1", policy.Silent)
	f(on, "kms:*:d2:KeyId:k-1", policy.Silent)
	f(on, "kms:*:*:KeyId:k-2", policy.Silent)
	f(on, "kms:*:*:alias:app/*", policy.Allowed)
	f(on, "kms:*:*:alias:k-1", policy.Silent)
	f(on, "kms:*:*:*:k-1", policy.Allowed)
	f(on, "kms:*:*:KeyId:*", policy.Allowed)
	f(on, "iam:*:*:*:*", policy.Silent)
	f(off, "kms:*:*:*:*", policy.Allowed)
	f(off, "kms:*:*:KeyId:*", policy.Silent)
	f(off, "kms:*:*:KeyId:k-1", policy.Silent)
}

func TestDocumentBounds(t *testing.T) {
	good := policy.Statement{Actions: []string{"kms:*"}}
	f := func(d policy.Document, want string) {
		t.Helper()
		err := d.Check()
		if _, compileErr := policy.Compile(&d); (err == nil) != (compileErr == nil) {
			t.Errorf("checked: %v, compiled: %v", err, compileErr)
		}
		if got := fmt.Sprint(err); !strings.Contains(got, want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	many := func(n int, s policy.Statement) (all []policy.Statement) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	f(policy.Document{Version: "1.1", Statements: []policy.Statement{good}}, "<nil>")
	f(policy.Document{Version: "5.0", Statements: []policy.Statement{good}}, "version")
	f(policy.Document{Version: "1.1"}, "0 statements")
	f(policy.Document{Version: "1.1", Statements: many(33, good)}, "33 statements")
	f(policy.Document{Version: "1.1", Statements: []policy.Statement{{}}}, "0 actions")
	f(policy.Document{Version: "1.1", Statements: []policy.Statement{{Actions: []string{"kms:*"}, Resources: []string{"kms:key"}}}}, "service:region")
	f(policy.Document{Version: "1.1", Statements: []policy.Statement{{Actions: []string{"kms:*"}, Conditions: []policy.Condition{{Operator: "Bool", Key: "g:MFAPresent"}}}}}, "0 values")
	f(policy.Document{Version: "1.1", Statements: []policy.Statement{{Actions: []string{"kms:*"}, Conditions: []policy.Condition{{Key: "g:MFAPresent", Values: []string{"x"}}}}}}, "without an operator")
	long := policy.Statement{Actions: []string{"kms:" + strings.Repeat("a", 240)}}
	f(policy.Document{Version: "1.1", Statements: many(26, long)}, "6344 bytes")
}

// TestDates compares with the standard library.
func TestDates(t *testing.T) {
	holds := func(value string, at int64) bool {
		r := policy.Request{Action: policy.ActionGetKey, Now: at}
		return judge(t, r, policy.Statement{Actions: []string{"*"}, Conditions: []policy.Condition{{Operator: "DateEquals", Key: "g:CurrentTime", Values: []string{value}}}}) == policy.Allowed
	}
	rapid.Check(t, func(rt *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 253402300799).Draw(rt, "seconds"), 0)
		zone := time.FixedZone("", rapid.IntRange(-14*60, 14*60).Draw(rt, "offset")*60)
		text := at.In(zone).Format(time.RFC3339)
		if y := at.In(zone).Year(); y >= 1970 && y <= 9999 && !holds(text, at.UnixMilli()) {
			rt.Fatalf("%s is not %d", text, at.UnixMilli())
		}
		if !holds(at.UTC().Format("2006-01-02T15:04:05.000Z"), at.UnixMilli()) || !holds(strconv.FormatInt(at.Unix(), 10), at.UnixMilli()) {
			rt.Fatalf("%d in another form", at.Unix())
		}
	})
	for _, bad := range []string{"2026-02-29", "2026-13-01", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-1-1", "2026-01-01T00:00:00.Z", "", "20260101000000000"} {
		r := policy.Request{Action: policy.ActionGetKey}
		if got := judge(t, r, policy.Statement{Actions: []string{"*"}, Conditions: []policy.Condition{{Operator: "DateGreaterThan", Key: "g:CurrentTime", Values: []string{bad}}}}); got != policy.Silent {
			t.Errorf("%q is a date", bad)
		}
	}
}

// twenty is a document of 20 statements of which the last allows.
func twenty(t testing.TB) *policy.Policy {
	d := policy.Document{Version: policy.VersionPolicy}
	for i := range 20 {
		d.Statements = append(d.Statements, policy.Statement{
			Actions:   []string{"kms:dek:*", "kms:cmk:get*"},
			Resources: []string{"kms:*:*:KeyId:k-" + strconv.Itoa(20-i)},
			Conditions: []policy.Condition{
				{Operator: "StringEquals", Key: "kms:KeySpec", Values: []string{"AES_256"}},
				{Operator: "IpAddress", Key: "g:SourceIp", Values: []string{"10.0.0.0/8", "192.0.2.0/24"}},
			},
		})
	}
	p, err := policy.Compile(&d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestJudgeAllocatesNothing(t *testing.T) {
	p, r := twenty(t), request(policy.ActionCryptoDEK)
	if n := testing.AllocsPerRun(100, func() {
		if verdict, by := p.Judge(&r); verdict != policy.Allowed || by != 19 {
			t.Fatal(verdict, by)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// BenchmarkJudge is 20 statements, each with a resource and two conditions.
func BenchmarkJudge(b *testing.B) {
	p, r := twenty(b), request(policy.ActionCryptoDEK)
	b.ReportAllocs()
	for b.Loop() {
		if verdict, _ := p.Judge(&r); verdict != policy.Allowed {
			b.Fatal(verdict)
		}
	}
}
