package fsm_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

var update = flag.Bool("update", false, "rewrite the outputs in testdata")

// TestScripts runs testdata/*.txt: blocks of commands, a line of dashes, and
// what they answer, up to an empty line. The words are in script_test.go. Run
// with -update to write the answers anew, and read the difference.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if line, differ := firstDifference(want, got); differ {
				t.Fatalf("%s:%s", file, line)
			}
		})
	}
}

// runScript returns the script with the answers that the machine gives now.
func runScript(t *testing.T, text []byte) []byte {
	s := &script{t: t, m: fsmtest.New(t)}
	var out bytes.Buffer
	answering := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case answering && line != "":
			continue // an old answer
		case line == "----":
			out.WriteString("----\n")
			out.WriteString(s.flush())
			answering = true
			continue
		case line == "":
			answering = false
		case !strings.HasPrefix(line, "#"):
			s.add(line)
		}
		out.WriteString(line + "\n")
	}
	if len(s.pending) > 0 {
		t.Fatal("the script ends with commands that nobody looks at: add ----")
	}
	return out.Bytes()
}

func firstDifference(want, got []byte) (string, bool) {
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("%d:\n-got  %s\n+want %s", i+1, at(g, i), at(w, i)), true
		}
	}
	return "", false
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}
