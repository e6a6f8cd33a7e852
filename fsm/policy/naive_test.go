package policy_test

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/fsm/policy"
)

// naiveOperators are what conditions compare by, and whether they are negated.
var naiveOperators = map[string]struct {
	compares string
	negated  bool
}{
	"StringEquals": {"text", false}, "StringNotEquals": {"text", true},
	"StringEqualsIgnoreCase": {"folded", false}, "StringNotEqualsIgnoreCase": {"folded", true},
	"StringLike": {"pattern", false}, "StringMatch": {"pattern", false}, "StringNotLike": {"pattern", true}, "StringNotMatch": {"pattern", true},
	"StringStartWith": {"prefix", false}, "StringNotStartWith": {"prefix", true},
	"StringEndWith": {"suffix", false}, "StringNotEndWith": {"suffix", true},
	"NumberEquals": {"number =", false}, "NumericNotEquals": {"number =", true},
	"NumberLessThan": {"number <", false}, "NumericLessThanEquals": {"number <=", false},
	"NumberGreaterThan": {"number >", false}, "NumericGreaterThanEquals": {"number >=", false},
	"DateEquals": {"date =", false}, "DateNotEquals": {"date =", true},
	"DateLessThan": {"date <", false}, "DateLessThanEquals": {"date <=", false},
	"DateGreaterThan": {"date >", false}, "DateGreaterThanEquals": {"date >=", false},
	"Bool": {"bool", false}, "Null": {"null", false}, "IsNullOrEmpty": {"null", false},
	"IpAddress": {"address", false}, "NotIpAddress": {"address", true},
	"StringResembles": {"nothing", false}, "ForAnyValue:StringEquals": {"nothing", false},
}

// naiveKeys are what conditions ask about: what kind of thing it is, and what
// of the request.
var naiveKeys = map[string]struct {
	kind string
	of   func(r *policy.Request) string
}{
	"g:UserId":          {"text", func(r *policy.Request) string { return r.UserID }},
	"G:username":        {"text", func(r *policy.Request) string { return r.UserName }},
	"g:DomainId":        {"text", func(r *policy.Request) string { return r.DomainID }},
	"g:DomainName":      {"text", func(r *policy.Request) string { return r.DomainName }},
	"g:ProjectId":       {"text", func(r *policy.Request) string { return r.ProjectID }},
	"g:ProjectName":     {"text", func(r *policy.Request) string { return r.ProjectName }},
	"g:ServiceName":     {"text", func(r *policy.Request) string { s, _, _ := strings.Cut(r.Action, ":"); return s }},
	"g:RequestedRegion": {"text", func(r *policy.Request) string { return r.Region }},
	"g:SourceIp":        {"address", func(r *policy.Request) string { return r.Source }},
	"g:CurrentTime":     {"date", func(r *policy.Request) string { return strconv.FormatInt(r.Now, 10) }},
	"g:MFAPresent":      {"bool", func(r *policy.Request) string { return strconv.FormatBool(r.MFA) }},
	"g:MFAAge":          {"number", func(*policy.Request) string { return "" }},
	"kms:KeyId":         {"text", func(r *policy.Request) string { return r.Key.ID }},
	"kms:KeySpec":       {"text", func(r *policy.Request) string { return r.Key.Spec }},
	"kms:KeyUsage":      {"text", func(r *policy.Request) string { return r.Key.Usage }},
	"kms:KeyOrigin":     {"text", func(r *policy.Request) string { return r.Key.Origin }},
	"kms:KeyAlias":      {"text", func(r *policy.Request) string { return r.Key.Alias }},
	"g:ResourceTag/env": {"tag", func(r *policy.Request) string { return naiveTag(r, "env") }},
	"g:RESOURCETAG/Env": {"tag", func(r *policy.Request) string { return naiveTag(r, "Env") }},
	"g:ShoeSize":        {"nothing", nil},
	"g:ResourceTag/":    {"nothing", nil},
}

func naiveTag(r *policy.Request, name string) string {
	if r.Key.Tags == nil {
		return ""
	}
	value, _ := r.Key.Tags.Tag(name)
	return value
}

var (
	naiveTexts  = []string{"", "Ada", "ada", "Bob", "SM4", "AES_256", "ENCRYPT_DECRYPT", "SIGN_VERIFY", "external", "kms", "aXb", "k-1", "k-2", "3", "-1", "12", "true", "FALSE", "192.0.2.1"}
	naiveValues = append(naiveTexts, "a*b", "*", "A*", "*a*b*c*d*e*f*g*", "yes", "192.0.2.0/25", "2001:db8::/32", "192.0.2.0/33",
		"2026-09-21T13:33:20Z", "2026-09-21T15:33:21+02:00", "1790000000", "2026-09-21", "tomorrow")
)

// TestJudgeAgreesWithTheNaiveEvaluator draws documents with every operator on
// every condition key, and requests, and judges them a second time by reading
// the document from end to end.
func TestJudgeAgreesWithTheNaiveEvaluator(t *testing.T) {
	actions := rapid.SampledFrom([]string{"*", "kms:*", "kms:cmk:*", "kms:CMK:get*", "kms:dek:crypto", "kms:dek:Encrypt", "kms:*:decrypt", "kms:cmk:crypto", "k*:*:c*", "k*:*:e*", "iam:*"})
	resources := rapid.SampledFrom([]string{"*", "kms:*:*:*:*", "kms:*:*:KeyId:k-*", "kms:*:*:KeyId:k-2", "kms:*:d1:alias:a*b", "kms:region-2:*:*:*", "kms:*:*:*:*k*-*"})
	operators, keys := make([]string, 0, len(naiveOperators)), make([]string, 0, len(naiveKeys))
	for operator := range naiveOperators {
		operators = append(operators, operator)
	}
	for key := range naiveKeys {
		keys = append(keys, key)
	}
	slices.Sort(operators)
	slices.Sort(keys)
	condition := rapid.Custom(func(t *rapid.T) policy.Condition {
		c := policy.Condition{
			Operator: rapid.SampledFrom(operators).Draw(t, "operator"), Key: rapid.SampledFrom(keys).Draw(t, "key"),
			Values: rapid.SliceOfN(rapid.SampledFrom(naiveValues), 1, 3).Draw(t, "values"),
		}
		if rapid.IntRange(0, 3).Draw(t, "if exists") == 0 {
			c.Operator += "IfExists"
		}
		return c
	})
	statement := rapid.Custom(func(t *rapid.T) policy.Statement {
		return policy.Statement{
			Deny:       rapid.IntRange(0, 3).Draw(t, "deny") == 0,
			Actions:    rapid.SliceOfN(actions, 1, 3).Draw(t, "actions"),
			Resources:  rapid.SliceOfN(resources, 0, 2).Draw(t, "resources"),
			Conditions: rapid.SliceOfN(condition, 0, 2).Draw(t, "conditions"),
		}
	})
	text := rapid.SampledFrom(naiveTexts)
	judged := map[policy.Verdict]int{}
	conditions := map[[2]string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		d := policy.Document{Version: policy.VersionPolicy, Statements: rapid.SliceOfN(statement, 1, 5).Draw(t, "statements")}
		p, err := policy.Compile(&d)
		if err != nil {
			t.Fatal(err)
		}
		r := policy.Request{
			Action: rapid.SampledFrom(policy.Actions()).Draw(t, "action"), Region: "region-1", DomainID: "d1",
			UserID: text.Draw(t, "user id"), UserName: text.Draw(t, "user"), DomainName: text.Draw(t, "domain"), ProjectID: text.Draw(t, "project id"), ProjectName: text.Draw(t, "project"),
			Source: rapid.SampledFrom([]string{"", "192.0.2.1", "192.0.2.200", "::ffff:192.0.2.1", "2001:db8::7", "nowhere"}).Draw(t, "source"),
			MFA:    rapid.Bool().Draw(t, "mfa"), Now: now + rapid.Int64Range(-2, 2).Draw(t, "now")*500, OnKey: rapid.Bool().Draw(t, "on key"),
		}
		if r.OnKey {
			r.Key = policy.Key{ID: text.Draw(t, "id"), Alias: text.Draw(t, "alias"), Spec: text.Draw(t, "spec"), Usage: text.Draw(t, "usage"), Origin: text.Draw(t, "origin")}
			if rapid.Bool().Draw(t, "tagged") {
				r.Key.Tags = tags{"env": text.Draw(t, "env")}
			}
		}
		got, by := p.Judge(&r)
		want := naiveJudge(d, r)
		if got != want || want != policy.Silent && d.Statements[by].Deny != (want == policy.Denied) {
			t.Fatalf("got %v by statement %d, want %v:\n%+v\n%+v", got, by, want, d, r)
		}
		judged[got]++
		for _, s := range d.Statements {
			for _, c := range s.Conditions {
				conditions[[2]string{strings.TrimSuffix(c.Operator, "IfExists"), c.Key}] = true
			}
		}
	})
	if len(judged) != 3 {
		t.Errorf("only some verdicts came up: %v", judged)
	}
	t.Logf("%d of %d pairs of operator and key", len(conditions), len(operators)*len(keys))
}

// Every operator on every key with every value, one by one.
func TestEveryConditionAgreesWithTheNaiveEvaluator(t *testing.T) {
	requests := []policy.Request{request(policy.ActionCryptoDEK), {Action: policy.ActionListUsers, Now: now + 500}}
	shown := request(policy.ActionGetKey)
	shown.MFA, shown.Source, shown.Key.Tags = true, "2001:db8::7", tags{"env": "3", "Env": "true"}
	requests = append(requests, shown)
	for operator := range naiveOperators {
		for key := range naiveKeys {
			for _, value := range naiveValues {
				for _, suffix := range []string{"", "IfExists"} {
					for _, deny := range []bool{false, true} {
						d := policy.Document{Version: policy.VersionPolicy, Statements: []policy.Statement{{
							Deny: deny, Actions: []string{"*"}, Conditions: []policy.Condition{{Operator: operator + suffix, Key: key, Values: []string{value}}},
						}}}
						p, err := policy.Compile(&d)
						if err != nil {
							t.Fatal(err)
						}
						for i := range requests {
							if got, _ := p.Judge(&requests[i]); got != naiveJudge(d, requests[i]) {
								t.Errorf("%s%s %s %q (deny %v) on request %d: got %v", operator, suffix, key, value, deny, i, got)
							}
						}
					}
				}
			}
		}
	}
}

func naiveJudge(d policy.Document, r policy.Request) policy.Verdict {
	verdict := policy.Silent
	for _, s := range d.Statements {
		actionMatches := naiveNames(s, r.Action)
		resourceMatches := len(s.Resources) == 0
		for _, pattern := range s.Resources {
			resourceMatches = resourceMatches || naiveResource(pattern, r)
		}
		holds := true
		for _, c := range s.Conditions {
			is, known := naiveCondition(c, r)
			holds = holds && (is || !known && s.Deny)
		}
		switch {
		case !actionMatches || !resourceMatches || !holds:
		case s.Deny:
			return policy.Denied
		default:
			verdict = policy.Allowed
		}
	}
	return verdict
}

// naiveHalves are the actions that name two others.
var naiveHalves = map[string][2]string{"kms:dek:crypto": {"kms:dek:encrypt", "kms:dek:decrypt"}, "kms:cmk:crypto": {"kms:cmk:encrypt", "kms:cmk:decrypt"}}

func naiveNames(s policy.Statement, action string) bool {
	is := func(one string) bool {
		return slices.ContainsFunc(s.Actions, func(a string) bool { return naiveMatch(strings.ToLower(a), strings.ToLower(one)) })
	}
	for whole, halves := range naiveHalves {
		switch {
		case action == halves[0] || action == halves[1]:
			return is(action) || is(whole)
		case action == whole && s.Deny:
			return is(whole) || is(halves[0]) || is(halves[1])
		case action == whole:
			return is(whole) || is(halves[0]) && is(halves[1])
		}
	}
	return is(action)
}

func naiveResource(pattern string, r policy.Request) bool {
	if pattern == "*" {
		return true
	}
	service, _, _ := strings.Cut(r.Action, ":")
	prefix := service + ":" + r.Region + ":" + r.DomainID + ":"
	names := []string{}
	if r.OnKey {
		names = append(names, prefix+"KeyId:"+r.Key.ID)
		if r.Key.Alias != "" {
			names = append(names, prefix+"alias:"+r.Key.Alias)
		}
	} else {
		if strings.Trim(pattern[strings.LastIndex(pattern, ":")+1:], "*") != "" {
			return false // about no key: the path must be open
		}
		names = append(names, prefix+":")
	}
	for _, name := range names {
		p, n := strings.SplitN(pattern, ":", 5), strings.SplitN(name, ":", 5)
		all := true
		for i := range p {
			all = all && naiveMatch(p[i], n[i])
		}
		if all {
			return true
		}
	}
	return false
}

// naiveCondition tells whether a condition holds, and whether it can be judged.
func naiveCondition(c policy.Condition, r policy.Request) (holds, known bool) {
	name, ifExists := strings.CutSuffix(c.Operator, "IfExists")
	operator, key := naiveOperators[name], naiveKeys[c.Key]
	compares, sign, _ := strings.Cut(operator.compares, " ")
	suits := map[string][]string{
		"text": {"text", "address", "tag"}, "folded": {"text", "address", "tag"}, "pattern": {"text", "address", "tag"}, "prefix": {"text", "address", "tag"}, "suffix": {"text", "address", "tag"},
		"number": {"number", "tag"}, "date": {"date"}, "bool": {"bool", "tag"}, "address": {"address"}, "null": {"text", "address", "tag", "number", "date", "bool"},
	}
	if !slices.Contains(suits[compares], key.kind) {
		return false, false
	}
	for _, v := range c.Values {
		if !naiveReadable(compares, v) {
			return false, false
		}
	}
	is := key.of(&r)
	if compares == "null" {
		return slices.ContainsFunc(c.Values, func(v string) bool { return strings.EqualFold(v, strconv.FormatBool(is == "")) }), true
	}
	if is == "" {
		return ifExists || operator.negated, true
	}
	matches := slices.ContainsFunc(c.Values, func(v string) bool {
		switch compares {
		case "text":
			return v == is
		case "folded":
			return strings.EqualFold(v, is)
		case "pattern":
			return naiveMatch(v, is)
		case "prefix":
			return strings.HasPrefix(is, v)
		case "suffix":
			return strings.HasSuffix(is, v)
		case "bool":
			return strings.EqualFold(v, is)
		case "address":
			address, err := netip.ParseAddr(is)
			return err == nil && naiveNetwork(v).Contains(address.Unmap())
		case "date":
			return naiveOrder(sign, r.Now, naiveDate(v).UnixMilli())
		default:
			n, err := strconv.ParseInt(is, 10, 64)
			value, _ := strconv.ParseInt(v, 10, 64)
			return err == nil && naiveOrder(sign, n, value)
		}
	})
	return matches != operator.negated, true
}

func naiveOrder(sign string, a, b int64) bool {
	switch sign {
	case "=":
		return a == b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}

func naiveReadable(compares, value string) bool {
	switch compares {
	case "number":
		_, err := strconv.ParseInt(value, 10, 64)
		return err == nil
	case "date":
		return !naiveDate(value).IsZero()
	case "bool", "null":
		return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	case "address":
		return naiveNetwork(value).IsValid()
	case "pattern":
		return strings.Count(value, "*") <= 6
	default:
		return true
	}
}

func naiveDate(value string) time.Time {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, value); err == nil {
			return at
		}
	}
	return time.Time{}
}

func naiveNetwork(value string) netip.Prefix {
	if network, err := netip.ParsePrefix(value); err == nil {
		return network
	}
	if address, err := netip.ParseAddr(value); err == nil {
		return netip.PrefixFrom(address, address.BitLen())
	}
	return netip.Prefix{}
}

func naiveMatch(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return naiveMatch(pattern[1:], text) || text != "" && naiveMatch(pattern, text[1:])
	}
	return text != "" && pattern[0] == text[0] && naiveMatch(pattern[1:], text[1:])
}
