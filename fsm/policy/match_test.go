package policy

import (
	"strings"
	"testing"
)

// TestMatchAction is inside the package: patterns come from outside only when
// policy documents do.
func TestMatchAction(t *testing.T) {
	f := func(pattern, action string, want bool) {
		t.Helper()
		if got := matchAction(pattern, action); got != want {
			t.Errorf("%q on %q: got %v", pattern, action, got)
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
