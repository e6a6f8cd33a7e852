package main

import "testing"

func TestClockText(t *testing.T) {
	f := func(aheadMillis int64, want string) {
		t.Helper()
		if got := clockText(&aheadMillis); got != want {
			t.Errorf("%d ms: %q, want %q", aheadMillis, got, want)
		}
	}
	f(0, "right")
	f(-400, "right")
	f(60_000, "1m0s fast")
	f(-31_536_000_000, "8760h0m0s slow")
	if got := clockText(nil); got != "unknown" {
		t.Errorf("not known: %q", got)
	}
}
