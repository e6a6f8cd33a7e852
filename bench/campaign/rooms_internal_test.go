package campaign

import (
	"testing"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// No scenario asks for disks that cannot be had together.
func TestOneDiskOrTwo(t *testing.T) {
	for name, s := range Scenarios() {
		if err := new(cluster).furnish(s.Kinds); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(cluster).furnish([]nemesis.Kind{nemesis.FullDisk, nemesis.PowerAll}); err == nil {
		t.Error("disks are full, and their power is cut")
	}
}
