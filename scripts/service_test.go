package scripts_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// A node whose PIN was refused must not be started again by itself, since tokens
// lock: the service names the exit status that kmsd has for that.
func TestTheServiceHeedsARefusedPIN(t *testing.T) {
	source, err := os.ReadFile("../cmd/kmsd/main.go")
	if err != nil {
		t.Fatal(err)
	}
	status := regexp.MustCompile(`exitPIN\s+= (\d+)`).FindSubmatch(source)
	unit, err := os.ReadFile("raftkms.service")
	if err != nil {
		t.Fatal(err)
	}
	if status == nil || !strings.Contains(string(unit), "\nRestartPreventExitStatus="+string(status[1])+"\n") {
		t.Errorf("raftkms.service does not keep kmsd from starting again after exit status %q", status)
	}
}
