package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
)

// The doctor notes a clock that may hide pauses, and no other.
func TestTheDoctorLooksAtTheClock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "current_clocksource")
	f := func(source string, notes int) {
		t.Helper()
		if err := os.WriteFile(file, []byte(source+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		report := doctor.New(hsm.Description{Kind: "soft"})
		noteClock(report, file)
		if len(report.Notes) != notes || notes > 0 && !strings.Contains(report.Notes[0], source) {
			t.Errorf("%s: %q", source, report.Notes)
		}
	}
	f("kvm-clock", 1)
	f("tsc", 0)
}
