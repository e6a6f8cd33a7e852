package clocksource_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cluster/clocksource"
)

func TestWarning(t *testing.T) {
	file := filepath.Join(t.TempDir(), "current_clocksource")
	if got := clocksource.Warning(file); got != "" {
		t.Errorf("without a file: %q", got)
	}
	f := func(content string, warned bool) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got := clocksource.Warning(file)
		if says := strings.Contains(got, "kvm-clock") && strings.Contains(got, "`kmsctl cluster consistency strict`"); says != warned || !warned && got != "" {
			t.Errorf("%q: %q", content, got)
		}
	}
	f("kvm-clock\n", true)
	f("tsc\n", false)
	f("", false)
}
