package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node warns once, as it starts, of a clock that may hide pauses, and of no other.
func TestAClockThatHidesPausesIsWarnedOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "current_clocksource")
	f := func(source string, lines int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(source+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		warnOfClock(file, slog.New(slog.NewTextHandler(&logged, nil)))
		if got := strings.Count(logged.String(), "level=WARN"); got != lines {
			t.Errorf("%s: %q", source, logged.String())
		}
	}
	f("kvm-clock", 1)
	f("tsc", 0)
}
