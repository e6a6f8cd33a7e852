package campaign

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// What cannot be played here is named, with the reason.
func TestTortureSaysWhatItLeavesOut(t *testing.T) {
	whole := needs()
	for i := range whole {
		whole[i].trouble = func() error { return nil }
	}
	all, leftOut := torture(whole)
	if len(leftOut) > 0 {
		t.Errorf("with everything there it leaves out %v", leftOut)
	}
	whole[0].trouble = func() error { return errors.New("it takes root") }
	some, leftOut := torture(whole)
	if len(leftOut) != 1 || len(some)+len(whole[0].scenarios) != len(all) || slices.Contains(some, "disk") {
		t.Fatalf("without disk it has %v and leaves out %v", some, leftOut)
	}
	for _, word := range append([]string{"disk", "it takes root"}, string(nemesis.DiskKinds()[0])) {
		if !strings.Contains(leftOut[0].String(), word) {
			t.Errorf("%q is not in %q", word, leftOut[0])
		}
	}
}
