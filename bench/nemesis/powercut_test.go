package nemesis_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A power cut leaves what was flushed, and nothing that was only written; without
// that a test with it would show nothing.
func TestPowerCutLosesWhatNobodyFlushed(t *testing.T) {
	if noVolume(t) {
		return
	}
	at := filepath.Join(t.TempDir(), "at")
	v := volume(t, at)
	must(t, v.KeepUnflushed())
	for round := range 10 { // whoever else has the kernel flush everything may do it just then
		name := fmt.Sprint(round)
		f, err := os.Create(filepath.Join(at, name))
		must(t, err)
		_, err = f.WriteString("flushed")
		must(t, err, f.Sync())
		_, err = f.WriteString(" and written")
		must(t, err, f.Close(), os.WriteFile(filepath.Join(at, name+"w"), nil, 0o600))
		after := filepath.Join(t.TempDir(), "after")
		cut, err := v.PowerCut(filepath.Join(t.TempDir(), "image"), after)
		must(t, err)
		text, err := os.ReadFile(filepath.Join(after, name))
		if !strings.HasPrefix(string(text), "flushed") || err != nil {
			t.Errorf("what was flushed is %q, %v", text, err)
		}
		_, err = os.Stat(filepath.Join(after, name+"w"))
		must(t, cut.Close())
		if string(text) == "flushed" && os.IsNotExist(err) {
			return
		}
	}
	t.Error("what nobody flushed is there each time")
}
