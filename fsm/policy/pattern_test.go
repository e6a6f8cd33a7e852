package policy

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	f := func(pattern, text string, want bool) {
		t.Helper()
		if got := match(pattern, text); got != want {
			t.Errorf("%q on %q: got %v", pattern, text, got)
		}
	}
	f("kms:cmk:get", "kms:cmk:get", true)
	f("kms:cmk:get", "kms:cmk:getQuota", false)
	f("kms:cmk:getQuota", "kms:cmk:get", false)
	f("kms:*", "kms:cmk:get", true)
	f("kms:*", "kms:", true)
	f("kms:*", "kms", false)
	f("kms:cmk:get*", "kms:cmk:getQuota", true)
	f("kms:*:get", "kms:cmk:get", true)
	f("kms:*:get", "kms:cmk:getQuota", false)
	f("kms:*:*", "kms:cmk:get", true)
	f("*", "", true)
	f("**", "kms", true)
	f("", "", true)
	f("", "kms", false)
	f("*a*b", "xaxxaxb", true)
	f("*a*b", "xaxxbx", false)
	f(strings.Repeat("*a", 40)+"b", strings.Repeat("a", 4000), false) // takes no time to speak of
}

func TestMatchAction(t *testing.T) {
	f := func(pattern, action string, want bool) {
		t.Helper()
		if err := checkAction(pattern); err != nil {
			t.Fatal(err)
		}
		if got := matchAction(pattern, action); got != want {
			t.Errorf("%q on %q: got %v", pattern, action, got)
		}
	}
	f("kms:CMK:GetQuota", ActionGetQuota, true)
	f("kms:cmktag:LIST*", ActionListTagged, true)
	f("kms:*", ActionCreateUser, false)
	f("*", ActionCreateUser, true)
	f("*:*:list", ActionListUsers, true)
	f("km*", ActionGetKey, true)
}

func TestCheckAction(t *testing.T) {
	f := func(pattern string, want bool) {
		t.Helper()
		if err := checkAction(pattern); (err == nil) != want {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	f("*", true)
	f("kms:*", true)
	f("kms:*:*", true)
	f("kms:cmk:get", true)
	f("kms:cmk:g*t*", true)
	f("", false)
	f("kms", false)
	f(":cmk:get", false)
	f("KMS:cmk:get", false)
	f("kms:cmk:get:more", false)
	f("kms:cmk:get\n", false)
	f("kms:cmk:*g*e*t*a*b*c*", false)
	f(strings.Repeat("a", 300), false)
}

// Every action has the form that policies can name, and stands in the list once.
func TestActions(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Actions() {
		folded := strings.ToLower(a)
		if err := checkAction(a); err != nil || seen[folded] || strings.Count(a, ":") != 2 || strings.Contains(a, "*") {
			t.Errorf("%s: seen %v, %v", a, seen[folded], err)
		}
		seen[folded] = true
	}
}
