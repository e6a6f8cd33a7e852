package locked_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm/locked"
)

// mappingFlags is what the kernel says of the arena's first pages.
func mappingFlags(t *testing.T, a *locked.Arena) string {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	within := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			within = from <= a.FirstChunk() && a.FirstChunk() < to
		}
		if flags, found := strings.CutPrefix(lines.Text(), "VmFlags:"); found && within {
			return flags
		}
	}
	t.Fatal("the kernel does not know the pages")
	return ""
}
